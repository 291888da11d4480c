// How large the packets are that a guest may build under a limit.
#include "agent/shape/guest_segments.h"
#include "agent/compile/compile.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

#include <cerrno>

namespace grantd {
namespace {

using testing::Pair;
using testing::UnorderedElementsAre;

TEST(GuestSegments, AreAQuarterOfAMillisecondOfTheGuestsPart) {
  EXPECT_EQ(segments_under(1, 1), 1U);
  EXPECT_EQ(segments_under(10'000'000, 1), 1U);
  EXPECT_EQ(segments_under(100'000'000, 1), 2U);
  EXPECT_EQ(segments_under(100'000'000, 8), 1U);
  EXPECT_EQ(segments_under(1'000'000'000, 1), 21U);
  EXPECT_EQ(segments_under(1'000'000'000, 0), 21U);
  EXPECT_EQ(segments_under(2'097'151'999, 1), 45U);
  EXPECT_EQ(segments_under(2'097'152'000, 1), kAllSegments);
  EXPECT_EQ(segments_under(~0ULL, 1), kAllSegments);
}

class WantedSegments : public testing::Test {
 protected:
  CompiledPolicy compiled(std::optional<std::uint64_t> egress_bps) {
    DesiredState desired = desired::world();
    desired.grants = {desired::grant("g", {})};
    desired.grants[0].egress_bps = egress_bps;
    desired.workloads = {desired::workload("web", "g", "veth-a", {"10.20.0.2"}),
                         desired::workload("other", "nothing", "veth-b", {"10.20.0.3"})};
    return compile(desired, desired::node(), desired::noon());
  }
  std::map<std::uint32_t, std::uint32_t> wanted(std::optional<std::uint64_t> egress_bps, bool queues = true) {
    return wanted_segments(compiled(egress_bps), queues);
  }
};

TEST_F(WantedSegments, AreFewUnderALimitAndAllOtherwise) {
  EXPECT_THAT(wanted(16'000'000), UnorderedElementsAre(Pair(10, 1)));
  EXPECT_THAT(wanted(std::nullopt), UnorderedElementsAre(Pair(10, kAllSegments)));
}

TEST_F(WantedSegments, AreAllWhereNothingWaits) {
  EXPECT_THAT(wanted(16'000'000, false), UnorderedElementsAre(Pair(10, kAllSegments)));
  CompiledPolicy policy = compiled(16'000'000);
  for (CompiledEndpoint& each : policy.endpoints) each.layer3 = true;
  EXPECT_THAT(wanted_segments(policy, true), UnorderedElementsAre(Pair(10, kAllSegments)));
}

TEST_F(WantedSegments, OfARefusedGrantAreNotKnown) {
  CompiledPolicy policy = compiled(16'000'000);
  policy.grants.clear();
  EXPECT_THAT(wanted_segments(policy, true), testing::IsEmpty());
}

class KeptSegments : public testing::Test {
 protected:
  KeptSegments() {
    InterfaceFact web;
    web.name = "veth-web";
    web.ifindex = 10;
    web.peer_ifindex = 2;
    web.peer_netns_id = 3;
    web.peer_segments = kAllSegments;
    interfaces_ = {web};
  }
  // How often it was tried.
  std::size_t tries_of(std::uint32_t segments, std::uint64_t after_seconds) {
    const std::size_t before = tried_.size();
    now_ += after_seconds * GRANTD_NS_PER_SECOND;
    failures_ = segments_.keep({{10, segments}}, interfaces_, now_);
    return tried_.size() - before;
  }

  Result<void> answer_;
  std::vector<std::uint32_t> tried_;
  GuestSegments segments_{[this](const InterfaceFact&, std::uint32_t segments) {
    tried_.push_back(segments);
    return answer_;
  }};
  std::vector<InterfaceFact> interfaces_;
  std::vector<std::string> failures_;
  BootNanoseconds now_ = 1000 * GRANTD_NS_PER_SECOND;
};

TEST_F(KeptSegments, ThatAreAsWantedAreLeftAlone) {
  EXPECT_EQ(tries_of(1, 0), 1U);
  EXPECT_EQ(interfaces_[0].peer_segments, 1U);
  EXPECT_EQ(tries_of(1, 0), 0U);
  EXPECT_EQ(tries_of(2, 0), 1U);
}

TEST_F(KeptSegments, ThatCouldNotBeSetAreTriedAgainAfterAWhile) {
  answer_ = Error{"its network namespace is not to be found", ENOENT};
  EXPECT_EQ(tries_of(1, 0), 1U);
  EXPECT_THAT(failures_, testing::ElementsAre("veth-web: its network namespace is not to be found"));
  EXPECT_EQ(tries_of(1, 59), 0U);
  EXPECT_EQ(tries_of(1, 1), 1U);
  EXPECT_THAT(failures_, testing::IsEmpty()) << "told once";
  answer_ = {};
  EXPECT_EQ(tries_of(1, 60), 1U);
  EXPECT_EQ(interfaces_[0].peer_segments, 1U);
  interfaces_[0].peer_segments = kAllSegments;
  EXPECT_EQ(tries_of(1, 0), 1U) << "what it failed at before is forgotten";
}

TEST_F(KeptSegments, AnotherNumberIsTriedAtOnceAndAnotherReasonTold) {
  answer_ = Error{"busy", EBUSY};
  EXPECT_EQ(tries_of(1, 0), 1U);
  answer_ = Error{"wrong", EINVAL};
  EXPECT_EQ(tries_of(2, 0), 1U);
  EXPECT_THAT(failures_, testing::ElementsAre("veth-web: wrong"));
  EXPECT_EQ(tries_of(2, 0), 0U);
}

TEST_F(KeptSegments, WhoMayNotIsNotAskedToAgain) {
  answer_ = Error{"cannot enter its network namespace", EPERM};
  EXPECT_EQ(tries_of(1, 0), 1U);
  EXPECT_EQ(tries_of(1, 600), 0U);
  EXPECT_EQ(tries_of(2, 600), 0U);
  interfaces_[0].peer_netns_id = 4;
  EXPECT_EQ(tries_of(2, 0), 1U) << "another guest's end";
}

TEST_F(KeptSegments, OfInterfacesThatAreGoneNothingIsKept) {
  EXPECT_EQ(tries_of(1, 0), 1U);
  answer_ = Error{"busy", EBUSY};
  EXPECT_EQ(tries_of(2, 0), 1U);
  EXPECT_EQ(segments_.remembered(), 2U);
  interfaces_.clear();
  EXPECT_EQ(tries_of(1, 0), 0U);
  EXPECT_EQ(segments_.remembered(), 0U);
}

}  // namespace
}  // namespace grantd
