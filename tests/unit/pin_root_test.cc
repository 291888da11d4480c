#include "maps/pin_root.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

TEST(PinRoot, HasOneSpelling) {
  for (const char* spelled : {"/sys/fs/bpf/grantd", "/sys/fs/bpf/grantd/", "/sys/fs/bpf//grantd///",
                              "/sys/fs/bpf/./grantd/.", "/sys/fs/bpf/other/../grantd"})
    EXPECT_EQ(plain_pin_root(spelled), kDefaultPinRoot) << spelled;
  EXPECT_EQ(plain_pin_root("/"), "/");
  EXPECT_EQ(plain_pin_root("/one"), "/one");
}

TEST(PinRoot, HasADigestOfItsOwn) {
  EXPECT_EQ(digest_of_pin_root("/sys/fs/bpf/grantd"), digest_of_pin_root("/sys/fs/bpf/grantd"));
  EXPECT_NE(digest_of_pin_root("/sys/fs/bpf/grantd"), digest_of_pin_root("/sys/fs/bpf/grante"));
  EXPECT_EQ(digest_of_pin_root("/sys/fs/bpf/grantd").size(), 6U);
  // FNV-1a of one byte, its lower 24 bits.
  EXPECT_EQ(digest_of_pin_root("a"), "0c292c");
}

}  // namespace
}  // namespace grantd
