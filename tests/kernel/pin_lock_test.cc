// One grantd at a pin root.
#include "agent/attach/pin_lock.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd::test {
namespace {

TEST(PinLock, IsOneProcessAtATimeAndLeavesNothing) {
  EXPECT_FALSE(is_pin_root_held(pin_root()).value());
  auto first = lock_pin_root(pin_root());
  EXPECT_TRUE(is_pin_root_held(pin_root()).value());
  ASSERT_TRUE(first) << first.error().message;
  const auto second = lock_pin_root(pin_root());
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::AllOf(testing::HasSubstr(pin_root()), testing::HasSubstr("another")));
  first.value().close();
  EXPECT_FALSE(is_pin_root_held(pin_root()).value());
  EXPECT_TRUE(lock_pin_root(pin_root()));
}

TEST(PinLock, AMissingRootIsAnError) {
  EXPECT_FALSE(lock_pin_root(pin_root() + "-not"));
  EXPECT_FALSE(is_pin_root_held(pin_root() + "-not").value());
}

}  // namespace
}  // namespace grantd::test
