// Which queues there are, and in which order they come and go.
#include "agent/plan/encode.h"
#include "agent/plan/queue_classes.h"
#include "tests/unit/queues_fixture.h"

#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

TEST_F(PlanQueues, AGuestUnderALimitWaitsInAClassOfItsGrants) {
  settle(limited(kRate, 2 * kRate));
  ASSERT_EQ(kernel_.state().queues.size(), 1U);
  const grantd_queue& queue = kernel_.state().queues.begin()->second;
  ASSERT_EQ(queues().classes.size(), 4U);
  for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
    const QueueClass& guest = queues().classes.at(minor_of(queue.class_id[direction]));
    EXPECT_EQ(guest.parent, grant_minor(1, direction));
    EXPECT_LT(guest.ceil_bytes, (direction + 1) * kRate / 8);
    EXPECT_GT(guest.ceil_bytes, (direction + 1) * kRate / 8 * 99 / 100);
  }
  EXPECT_EQ(kernel_.state().shaper_record.queue_ifindex, queues().queue_ifindex);
}

TEST_F(PlanQueues, AnUnlimitedGrantAndAPolicerHaveNone) {
  settle(limited(std::nullopt));
  EXPECT_THAT(queues().classes, testing::IsEmpty());
  EXPECT_THAT(kernel_.state().queues, testing::IsEmpty());
  settle(limited(kRate));
  EXPECT_EQ(queues().classes.size(), 2U) << "of the limited direction alone";
  facts_.shaper = GRANTD_SHAPER_POLICER;
  const auto steps = settle(limited(kRate));
  EXPECT_EQ(queues().queue_ifindex, 0U);
  EXPECT_THAT(kernel_.state().queues, testing::IsEmpty());
  EXPECT_LT(std::find(steps.begin(), steps.end(), "remove_queue"),
            std::find(steps.begin(), steps.end(), "remove_queues"));
}

TEST_F(PlanQueues, AnotherRateChangesClassesInPlace) {
  settle(limited(kRate));
  const grantd_queue before = kernel_.state().queues.begin()->second;
  const auto steps = settle(limited(2 * kRate));
  EXPECT_EQ(count(steps, "put_class"), 2U);
  EXPECT_EQ(count(steps, "put_queue") + count(steps, "remove_class") + count(steps, "make_queues"), 0U);
  EXPECT_TRUE(same_bytes(before, kernel_.state().queues.begin()->second));
}

TEST_F(PlanQueues, ALimitAndItsClassesAreOfOnePlan) {
  settle(limited(kRate));
  kernel_.now = facts_.now = time_.boot_now += 2 * GRANTD_NS_PER_SECOND;
  node_.in_force = in_force(applier_.state());
  EXPECT_TRUE(
      applier_.apply(plan(applier_.state(), compile(limited(2 * kRate), node_, time_), facts_), facts_.now).complete());
  EXPECT_GT(queues().classes.at(grant_minor(1, GRANTD_EGRESS)).rate_bytes, kRate / 8);
}

TEST_F(PlanQueues, GuestsShareAndAreSharedAnewWhenOneGoes) {
  DesiredState two = limited(kRate);
  two.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
  settle(two);
  ASSERT_EQ(queues().classes.size(), 3U);
  const std::uint64_t all = queues().classes.at(grant_minor(1, GRANTD_EGRESS)).rate_bytes;
  std::uint64_t parts = 0;
  for (const auto& [minor, one] : queues().classes)
    if (one.parent) parts += one.rate_bytes;
  EXPECT_LE(parts, all);
  EXPECT_GE(parts + 2, all);
  settle(limited(kRate));
  ASSERT_EQ(queues().classes.size(), 2U);
  EXPECT_EQ(queues().classes.rbegin()->second.rate_bytes, all);
}

TEST_F(PlanQueues, AGuestThatChangesItsGrantChangesItsClass) {
  DesiredState desired = limited(kRate);
  desired.grants.push_back(desired::grant("h", {}));
  desired.grants[1].egress_bps = kRate;
  settle(desired);
  desired.workloads[0].grant = "keystone-system/h";
  settle(desired);
  ASSERT_EQ(kernel_.state().queues.size(), 1U);
  ASSERT_EQ(queues().classes.size(), 2U);
  EXPECT_NE(queues().classes.rbegin()->second.parent, grant_minor(1, GRANTD_EGRESS));
}

TEST_F(PlanQueues, QueuesThatSomebodyRemovedComeBack) {
  settle(limited(kRate));
  const std::uint32_t before = queues().queue_ifindex;
  kernel_.lose_queues();
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  const auto steps = settle(limited(kRate));
  EXPECT_EQ(steps.front(), "put_shaper") << "first nothing is sent into what is gone";
  EXPECT_NE(queues().queue_ifindex, before);
  EXPECT_EQ(kernel_.state().shaper_record.queue_ifindex, queues().queue_ifindex);
  EXPECT_EQ(queues().classes.size(), 2U);
}

TEST_F(PlanQueues, PacketsComeBackToInterfacesOfLimitedGuestsAlone) {
  settle(limited(kRate));
  EXPECT_THAT(kernel_.state().devices, testing::ElementsAre(10U));
  settle(limited(std::nullopt));
  EXPECT_THAT(kernel_.state().devices, testing::IsEmpty());
}

TEST_F(PlanQueues, AnInterfaceMadeAgainUnderTheSameIndexIsPutOnRecordAgain) {
  settle(limited(kRate));
  kernel_.lose_interface(10);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  ASSERT_TRUE(applier_.state().devices.contains(10)) << "apply has not looked";
  std::vector<std::string> names;
  for (const Step& step : plan(applier_.state(), compile(limited(kRate), node_, time_), facts_).steps)
    names.push_back(operation_name(step.operation));
  const auto attached = std::find(names.begin(), names.end(), "attach");
  EXPECT_EQ(std::count(attached, names.end(), "put_device"), 1);
  EXPECT_EQ(count(names, "put_queue"), 0U) << "only once it is there";
}

TEST_F(PlanQueues, AnAgentThatStartsAgainTakesThemAsTheyAre) {
  settle(limited(kRate));
  Applier another(kernel_);
  ASSERT_TRUE(another.refresh(time_.boot_now).ok());
  facts_.shaper_secret = 8;
  node_.in_force = in_force(another.state());
  EXPECT_THAT(plan(another.state(), compile(limited(kRate), node_, time_), facts_).steps, testing::IsEmpty())
      << "what waits under the old secret must come back";
}

// Whatever the limit: below it, never more than half of its burst at once, and what the kernel keeps is what was asked.
RC_GTEST_PROP(QueueClasses, StayBelowTheirLimit, ()) {
  const auto rate = *rc::gen::inRange<std::uint64_t>(GRANTD_MIN_RATE_BPS, GRANTD_MAX_RATE_BPS);
  const auto burst = *rc::gen::inRange<std::uint64_t>(GRANTD_MIN_BURST_BYTES, 1ULL << 30);
  const auto guests = *rc::gen::inRange<std::size_t>(1, 20'000);
  const auto direction = *rc::gen::inRange<std::uint32_t>(0, GRANTD_DIRECTIONS);
  const auto fair = *rc::gen::arbitrary<bool>();
  const grantd_limit limit = encode_limit({rate, burst}, 4);
  const QueueClass grant = grant_class(limit), guest = guest_class(limit, direction, 4, guests, fair);
  RC_ASSERT(grant.rate_bytes > 0U);
  RC_ASSERT(grant.rate_bytes * 8 < rate);
  RC_ASSERT(grant.rate_bytes * 8 + 16 > rate - rate / 250);
  RC_ASSERT(static_cast<unsigned __int128>(grant.burst_ns) * grant.rate_bytes / GRANTD_NS_PER_SECOND <= burst / 2 + 1);
  RC_ASSERT(guest.ceil_bytes == grant.rate_bytes);
  RC_ASSERT(guest.rate_bytes > 0U);
  RC_ASSERT(guest.rate_bytes <= std::max<std::uint64_t>(grant.rate_bytes / guests, 1));
  // All guests together have 2 ms of the rate at once, where that is no less than two frames of each.
  RC_ASSERT(static_cast<unsigned __int128>(guest.burst_ns) * guest.rate_bytes / GRANTD_NS_PER_SECOND <=
            std::max<std::uint64_t>(3028, guest.rate_bytes / 500 + 1));
  for (const QueueClass& each : {grant, guest})
    for (const std::uint64_t time : {each.burst_ns, each.ceil_burst_ns}) {
      RC_ASSERT(time % kQueueTickNs == 0U);
      RC_ASSERT(time > 0U);
      RC_ASSERT(time / kQueueTickNs <= 0xffffffffU);
    }
  RC_ASSERT(guest.queue_bytes >= 256U << 10);
  // As the kernel's SFQ gives it back: packets, of which it takes 127 x 127.
  RC_ASSERT(guest.queue_bytes % kQueueStepBytes == 0U);
  RC_ASSERT(guest.queue_bytes / kQueueStepBytes <= 127U * 127U);
  RC_ASSERT(guest.fair == (fair && direction == GRANTD_EGRESS));
}

TEST(QueueClasses, NumbersDoNotMeet) {
  EXPECT_TRUE(has_grant_minor(GRANTD_MAX_GRANTS));
  EXPECT_LT(grant_minor(8190, GRANTD_INGRESS), kFirstGuestMinor);
  EXPECT_GT(grant_minor(1, GRANTD_EGRESS), 1U);
  EXPECT_LT(guest_minor(kGuestNumbers - 1, GRANTD_INGRESS), 0xffffU);
  EXPECT_LT(guest_minor(kGuestNumbers - 1, GRANTD_INGRESS), kTrialMinor);
  EXPECT_EQ(guest_number(guest_minor(77, GRANTD_INGRESS)), 77U);
}

}  // namespace
}  // namespace grantd
