#include "agent/plan/close_ended.h"

#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class CloseEndedTest : public PlanTest {
 protected:
  void SetUp() override { ASSERT_TRUE(converge(two_).complete()); }
  std::vector<std::string> closed(const std::vector<Grant>& grants) {
    const Plan plan = close_ended(applier_.state(), grants);
    EXPECT_TRUE(applier_.apply(plan, facts_.now).complete());
    std::vector<std::string> subjects;
    for (const Step& step : plan.steps) subjects.push_back(step.subject);
    return subjects;
  }
  DesiredState two() {
    DesiredState desired = with_grant();
    desired.grants.push_back(desired::grant("h", {"203.0.113.0/24"}));
    desired.workloads.push_back(desired::workload("db", "h", "veth-b", {"10.20.0.3"}));
    return desired;
  }
  const DesiredState two_ = two();
};

TEST_F(CloseEndedTest, WhatIsThereGoesOn) { EXPECT_THAT(closed(two_.grants), IsEmpty()); }

TEST_F(CloseEndedTest, OneThatIsGoneCloses) {
  EXPECT_THAT(closed({two_.grants[0]}), ElementsAre("Grant keystone-system/h"));
  EXPECT_EQ(kernel_.state().published.size(), 1U);
  EXPECT_THAT(closed({two_.grants[0]}), IsEmpty()) << "and is closed";
}

TEST_F(CloseEndedTest, OneThatWasRevokedMeanwhileCloses) {
  DesiredState desired = two_;
  desired.grants[1].revoked = true;
  desired.grants[1].notice_period = std::chrono::hours(1);
  EXPECT_THAT(closed(desired.grants), ElementsAre("Grant keystone-system/h"));
  ASSERT_TRUE(converge(desired).complete());
  EXPECT_EQ(kernel_.state().published.size(), 2U) << "for its notice";
  EXPECT_THAT(closed(desired.grants), IsEmpty()) << "its revocation is in force";
  EXPECT_THAT(kernel_.violations(), IsEmpty());
}

TEST_F(CloseEndedTest, OneWithoutANameCloses) {
  ASSERT_TRUE(kernel_.perform(operation::RemoveSlotName{1}).ok());
  ASSERT_TRUE(applier_.refresh(facts_.now).ok());
  EXPECT_THAT(closed(two_.grants), ElementsAre("slot 1"));
}

}  // namespace
}  // namespace grantd
