// Grants that this node refuses: how long what was in force for them stays.
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RefusedGrants : public PlanTest {
 protected:
  RefusedGrants() { facts_.boot_to_wall_ns = 1'000 * kHour; }

  DesiredState dated() {
    DesiredState desired = with_grant();
    desired.grants[0].valid_until = time_.now + std::chrono::hours(2);
    return desired;
  }
  void set_clock_ahead() {
    time_.now += std::chrono::hours(1);
    facts_.boot_to_wall_ns += kHour;
  }
  // As an agent that is killed before the step `name` of its plan, and reads the maps when it is started again.
  void die_before(const char* name, const DesiredState& desired) {
    Plan plan = next(desired);
    const auto at = std::find_if(plan.steps.begin(), plan.steps.end(),
                                 [&](const Step& step) { return operation_name(step.operation) == std::string(name); });
    ASSERT_NE(at, plan.steps.end());
    plan.steps.erase(at, plan.steps.end());
    applier_.apply(plan, facts_.now);
    ASSERT_TRUE(applier_.refresh(facts_.now).ok());
  }
  std::uint64_t offset() const { return kernel_.state().node.boot_to_wall_ns; }

  const DesiredState refused_ = with_grant({"realm:dave"});
};

TEST_F(RefusedGrants, AClockThatWasSetIsReckonedWithThoughTheAgentDiedBeforeThePublication) {
  ASSERT_TRUE(converge(dated()).complete());
  const BootNanoseconds end = in_force_now().not_after_ns;
  set_clock_ahead();
  die_before("publish", refused_);
  ASSERT_EQ(in_force_now().not_after_ns, end) << "the control";
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
  EXPECT_EQ(offset(), facts_.boot_to_wall_ns);
  EXPECT_THAT(names(next(refused_)), IsEmpty()) << "once";
}

// Its plan had the new end of a Grant that was good; the next agent finds it refused.
TEST_F(RefusedGrants, AClockThatWasSetIsReckonedWithThoughTheGrantWasGoodThen) {
  const DesiredState desired = dated();
  ASSERT_TRUE(converge(desired).complete());
  const BootNanoseconds end = in_force_now().not_after_ns;
  set_clock_ahead();
  die_before("publish", desired);
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
}

TEST_F(RefusedGrants, AClockIsNotWrittenDownWhileAnEndByTheOldOneIsInForce) {
  ASSERT_TRUE(converge(dated()).complete());
  const BootNanoseconds end = in_force_now().not_after_ns;
  const std::uint64_t before = offset();
  set_clock_ahead();
  kernel_.fail("publish");
  EXPECT_THAT(converge(refused_).closed, IsEmpty()) << "nor can it be closed";
  EXPECT_EQ(offset(), before);
  kernel_.fail("");
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
  EXPECT_EQ(offset(), facts_.boot_to_wall_ns);
}

TEST_F(RefusedGrants, AClockIsWrittenDownWhereTheEndByTheOldOneIsClosed) {
  ASSERT_TRUE(converge(dated()).complete());
  set_clock_ahead();
  kernel_.fail("put_policy");
  EXPECT_THAT(converge(refused_).closed, ElementsAre(1U));
  EXPECT_EQ(offset(), facts_.boot_to_wall_ns);
}

// Nothing of what was written by it is in doubt.
TEST_F(RefusedGrants, TheFirstClockIsWrittenDownAtOnce) {
  const Plan plan = next(with_grant());
  const auto steps = names(plan);
  EXPECT_EQ(std::count(steps.begin(), steps.end(), "put_node"), 1);
  EXPECT_EQ(steps.front(), "put_node");
}

// The Grant of this name was deleted, and this one has never been in force.
TEST_F(RefusedGrants, WhatWasInForceForADeletedGrantOfItsNameEnds) {
  ASSERT_TRUE(converge(with_grant()).complete());
  DesiredState another = refused_;
  another.grants[0].made_anew = true;
  const CompiledPolicy compiled = compile(another, node_, time_);
  ASSERT_EQ(compiled.refused.size(), 1U);
  EXPECT_THAT(compiled.refused[0].why, HasSubstr("another Grant of its name, which was deleted"));
  ASSERT_TRUE(converge(another).complete());
  EXPECT_EQ(in_force_now().not_after_ns, kAtOnce);
  another.grants[0].made_anew = false;  // as it is told once
  ASSERT_TRUE(converge(another).complete());
  EXPECT_EQ(in_force_now().not_after_ns, kAtOnce);
  ASSERT_TRUE(converge(with_grant()).complete());
  EXPECT_EQ(in_force_now().not_after_ns, GRANTD_TIME_NEVER);
}

}  // namespace
}  // namespace grantd
