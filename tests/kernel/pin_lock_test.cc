// One grantd at a pin root.
#include "agent/attach/pin_lock.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd::test {
namespace {

TEST(PinLock, IsOneProcessAtATimeAndLeavesNothing) {
  auto first = lock_pin_root(pin_root());
  ASSERT_TRUE(first) << first.error().message;
  const auto second = lock_pin_root(pin_root());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::AllOf(testing::HasSubstr(pin_root()), testing::HasSubstr("another")));
  first.value().close();
  EXPECT_TRUE(lock_pin_root(pin_root()));
}

TEST(PinLock, AMissingRootIsAnError) { EXPECT_FALSE(lock_pin_root(pin_root() + "-not")); }

}  // namespace
}  // namespace grantd::test
