// One grantd at a pin root.
#include "agent/attach/pin_lock.h"
#include "agent/attach/attacher.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
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

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

milliseconds since(Clock::time_point begin) { return std::chrono::duration_cast<milliseconds>(Clock::now() - begin); }

TEST(PinLock, OfLinksIsWaitedForAndNotForEver) {
  const std::string links = pin_root() + "/links";
  auto first = lock_links(links, milliseconds(0));
  ASSERT_TRUE(first) << first.error().message;
  auto begin = Clock::now();
  const auto second = lock_links(links, milliseconds(200));
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().error_number, EWOULDBLOCK);
  EXPECT_THAT(second.error().message,
              testing::AllOf(testing::HasSubstr(links), testing::HasSubstr("end that process")));
  EXPECT_GE(since(begin), milliseconds(200));
  EXPECT_LT(since(begin), milliseconds(2000));

  std::thread holder([&first] {
    std::this_thread::sleep_for(milliseconds(300));
    first.value().close();
  });
  begin = Clock::now();
  EXPECT_TRUE(lock_links(links, milliseconds(60000)).ok());
  EXPECT_LT(since(begin), milliseconds(10000));
  holder.join();
  EXPECT_FALSE(lock_links(links + "/none", milliseconds(0)).value().valid()) << "no directory, no lock, no error";
}

// What else an agent has to do does not wait again and again for a plugin that hangs.
TEST(PinLock, ThatHangsIsWaitedForOnce) {
  Attacher attacher(pin_root(), AttachMode::Auto, GRANTD_STAMP_MASK_DEFAULT, milliseconds(500));
  auto held = lock_links(pin_root() + "/links", milliseconds(0));
  ASSERT_TRUE(held) << held.error().message;
  auto begin = Clock::now();
  EXPECT_EQ(attacher.remove_defunct().error().error_number, EWOULDBLOCK);
  EXPECT_GE(since(begin), milliseconds(500));
  begin = Clock::now();
  for (int times = 0; times < 3; times++) EXPECT_FALSE(attacher.remove_defunct());
  EXPECT_LT(since(begin), milliseconds(500));
  held.value().close();
  EXPECT_TRUE(attacher.remove_defunct());
  held = lock_links(pin_root() + "/links", milliseconds(0));
  begin = Clock::now();
  EXPECT_FALSE(attacher.remove_defunct());
  EXPECT_GE(since(begin), milliseconds(500)) << "it was had meanwhile";
}

}  // namespace
}  // namespace grantd::test
