// One grantd at a pin root.
#include "agent/attach/pin_lock.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <optional>
#include <thread>

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

TEST(PinLock, OfTheStateDirectoryIsOneProcessAtATimeToo) {
  const std::string state = pin_root() + "-state";
  auto first = lock_state_dir(state);
  ASSERT_TRUE(first) << first.error().message;
  const auto second = lock_state_dir(state);
  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().message, testing::AllOf(testing::HasSubstr(state), testing::HasSubstr("another")));
  first.value().close();
  EXPECT_TRUE(lock_state_dir(state));
  std::filesystem::remove_all(state);
}

std::string missing_root() { return pin_root() + "/another"; }

TEST(PinLock, AMissingRootIsMadeWhereThereMayBeOne) {
  EXPECT_FALSE(lock_pin_root("/proc/grantd"));
  EXPECT_FALSE(is_pin_root_held(missing_root()).value());
  {
    const auto made = lock_pin_root(missing_root());
    ASSERT_TRUE(made) << made.error().message;
    EXPECT_TRUE(std::filesystem::is_directory(missing_root() + "/links"));
  }
  std::filesystem::remove_all(missing_root());
}

// As `uninstall` does while an agent waits for it.
TEST(PinLock, WhoeverWaitsHoldsARootThatOthersFind) {
  auto first = lock_pin_root(missing_root());
  ASSERT_TRUE(first) << first.error().message;
  std::optional<Result<Descriptor>> second;
  std::thread waiting([&second] { second.emplace(lock_pin_root(missing_root())); });
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  std::filesystem::remove_all(missing_root());
  first.value().close();
  waiting.join();
  ASSERT_TRUE(second->ok()) << second->error().message;
  EXPECT_TRUE(is_pin_root_held(missing_root()).value());
  EXPECT_TRUE(std::filesystem::is_directory(missing_root() + "/links"));
  std::filesystem::remove_all(missing_root());
}

}  // namespace
}  // namespace grantd::test
