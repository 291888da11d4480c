#include "agent/ctl/verify/differences.h"

#include "tests/unit/kernel_records.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Field by field on a real kernel: tests/netns/test_verify.py. Of any history: Plan.EveryStepOfEveryHistoryIsSafe.
class DifferencesTest : public PlanTest {
 protected:
  DifferencesTest() {
    converge(with_grant());
    said_.cpus = facts_.cpus;
  }
  std::vector<std::string> between(const DesiredState& desired) {
    said_.policy = compile(desired, node_, time_);
    return differences(said_, model::records_of(kernel_));
  }
  Said said_;
};

TEST_F(DifferencesTest, NoneWhereNothingChanged) { EXPECT_THAT(between(with_grant()), IsEmpty()); }

TEST_F(DifferencesTest, NameTheGrantTheRuleAndBothSides) {
  EXPECT_THAT(between(with_grant({"198.51.100.0/24:443-444/TCP"})),
              ElementsAre("Grant keystone-system/g: the rule for 198.51.100.0/24 is 443/TCP by destination 1; by the "
                          "manifests 443-444/TCP by destination 1"));
}

TEST_F(DifferencesTest, ASecondSlotOfAGrantIsOne) {
  said_.policy = compile(with_grant(), node_, time_);
  auto found = model::records_of(kernel_);
  found.state.slot_names[7] = found.state.slot_names.begin()->second;
  EXPECT_THAT(differences(said_, found), ElementsAre("Grant keystone-system/g: has more than one slot"));
}

TEST_F(DifferencesTest, ACpuMoreSharesTheBurstOtherwise) {
  DesiredState limited = with_grant();
  limited.grants[0].egress_bps = 1'000'000'000;
  converge(limited);
  EXPECT_THAT(between(limited), IsEmpty());
  said_.cpus = 64;
  EXPECT_THAT(between(limited), testing::Contains(HasSubstr("limit of egress, quantum_bytes is ")));
}

TEST_F(DifferencesTest, OfAClusterGuestsAreNotCompared) {
  DesiredState desired = with_grant();
  desired.workloads.clear();
  desired.grants.push_back(desired::grant("elsewhere", {}));
  EXPECT_THAT(between(desired), testing::Contains(HasSubstr("by the manifests there is no guest")));
  said_.guests = false;
  EXPECT_THAT(between(desired), IsEmpty());
  desired.grants.erase(desired.grants.begin());
  EXPECT_THAT(between(desired),
              ElementsAre("Grant keystone-system/g: is in force; by the manifests there is no such Grant"));
}

}  // namespace
}  // namespace grantd
