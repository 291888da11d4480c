// Where everything of ours may be pinned, and what is said where it may not.
#include "agent/attach/pin_root.h"
#include "tests/kernel/sandbox.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace grantd::test {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

TEST(PinRoot, IsMadeOnABpfFileSystem) {
  const std::string root = pin_root() + "/anew";
  for (int turn = 0; turn < 2; turn++) {
    const auto made = make_pin_root(root + (turn ? "/" : ""));
    ASSERT_TRUE(made) << made.error().message;
  }
  EXPECT_TRUE(fs::is_directory(root + "/maps/tables"));
  fs::remove_all(root);
}

TEST(PinRoot, ElsewhereIsRefusedAndLeavesNothing) {
  for (const std::string root : {"/proc/grantd", "/var/grantd-is-not-here"}) {
    const auto made = make_pin_root(root);
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().message, HasSubstr("pin root " + root + ": is not on a BPF file system"));
    EXPECT_THAT(made.error().message, HasSubstr("mount -t bpf"));
    EXPECT_FALSE(fs::exists(root));
  }
}

TEST(PinRoot, NamesTheDirectoryThatItWouldBeIn) {
  const auto made = make_pin_root(pin_root() + "/missing/root");
  ASSERT_FALSE(made);
  EXPECT_THAT(made.error().message, HasSubstr("there is no directory " + pin_root() + "/missing;"));
  EXPECT_FALSE(fs::exists(pin_root() + "/missing"));
}

}  // namespace
}  // namespace grantd::test
