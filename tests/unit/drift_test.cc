// What somebody else has changed in the maps: it is counted, and put right.
#include "tests/unit/queues_fixture.h"

namespace grantd {
namespace {

class Drift : public PlanQueues {
 protected:
  void SetUp() override {
    PlanQueues::SetUp();
    settle(desired_);
    ASSERT_EQ(looked(), 0U) << "the control";
    ASSERT_TRUE(next(desired_).steps.empty());
  }
  std::size_t looked() {
    auto drift = applier_.refresh(facts_.now);
    EXPECT_TRUE(drift.ok());
    return drift ? drift.value() : 0;
  }
  // Found as one difference, mended by `step`, and then no more.
  void expect_mended(const char* step) {
    EXPECT_EQ(looked(), 1U);
    EXPECT_THAT(names(next(desired_)), testing::Contains(step));
    settle(desired_);
    EXPECT_EQ(looked(), 0U);
    EXPECT_TRUE(next(desired_).steps.empty());
  }
  KernelState& spoiled() { return kernel_.as_somebody_else(); }

  const DesiredState desired_ = limited(kRate);
};

TEST_F(Drift, ARecordWhoseHalvesDifferIsWrittenAnew) {
  grantd_endpoint& record = spoiled().endpoints.begin()->second;
  record.version_again++;
  expect_mended("put_endpoint");
  EXPECT_EQ(record.version, record.version_again);
}

TEST_F(Drift, APolicyThatWasChangedIsReplaced) {
  const std::uint64_t before = published();
  spoiled().policies.at(before).not_after_ns--;
  EXPECT_EQ(looked(), 1U);
  settle(desired_);
  EXPECT_NE(published(), before);
  EXPECT_EQ(in_force_now().not_after_ns, GRANTD_TIME_NEVER);
}

TEST_F(Drift, OfTheNodesOwnRecordsEachIsCounted) {
  spoiled().shaper_record.queue_ifindex++;
  expect_mended("put_shaper");
  spoiled().node.pid++;
  expect_mended("put_node");
  spoiled().bounds[GRANTD_BOUND_RULES].used++;
  expect_mended("put_bounds");
}

TEST_F(Drift, AClassOfTheQueuesThatIsGoneIsCountedWhenInterfacesComeAndGo) {
  spoiled().shaper.classes.erase(spoiled().shaper.classes.begin());
  auto drift = applier_.refresh_attachments();
  ASSERT_TRUE(drift.ok());
  EXPECT_EQ(drift.value(), 1U);
  EXPECT_THAT(names(next(desired_)), testing::Contains("put_class"));
  settle(desired_);
  EXPECT_EQ(applier_.refresh_attachments().value(), 0U);
}

}  // namespace
}  // namespace grantd
