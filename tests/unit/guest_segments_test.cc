// How large the packets are that a guest may build under a limit.
#include "agent/shape/guest_segments.h"
#include "agent/compile/compile.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

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

}  // namespace
}  // namespace grantd
