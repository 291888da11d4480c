// What an agent of an older version pinned under another layout goes with the next start.
#include "tests/kernel/private_node.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace grantd {
namespace {

TEST(OldLayouts, GoWithTheNextStartAndNothingElseDoes) {
  PrivateNode node;
  const std::string pin = map_pin(node.pin_root(), "grantd_bucket"), old = pin.substr(0, pin.size() - 1) + "0",
                    anothers = node.pin_root() + "/maps/somebodys_v1";
  for (const std::string& path : {old, anothers}) {
    const Descriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "of_before", 4, 32, 2, nullptr));
    ASSERT_TRUE(map.valid());
    ASSERT_EQ(bpf_obj_pin(map.get(), path.c_str()), 0);
  }
  node.restart(PrivateNode::small_tables());
  EXPECT_NE(access(old.c_str(), F_OK), 0);
  EXPECT_EQ(access(pin.c_str(), F_OK), 0);
  EXPECT_EQ(access(anothers.c_str(), F_OK), 0);
}

}  // namespace
}  // namespace grantd
