// Grants that this node refuses: how long what was in force for them stays.
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::HasSubstr;

class RefusedGrants : public PlanTest {
 protected:
  const DesiredState refused_ = with_grant({"realm:dave"});
};

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
