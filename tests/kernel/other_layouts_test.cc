// What an agent of another version pinned, of another layout, goes with the next start.
#include "tests/kernel/private_node.h"

#include <bpf/bpf.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace grantd {
namespace {

TEST(OtherLayouts, GoWithTheNextStartAndNothingElseDoes) {
  PrivateNode node;
  const std::string pin = map_pin(node.pin_root(), "grantd_bucket"), old = pin.substr(0, pin.size() - 1) + "0",
                    newer = pin.substr(0, pin.size() - 1) + "12";
  const std::vector<std::string> anothers = {node.pin_root() + "/maps/somebodys_v1", pin + "_new",
                                             node.pin_root() + "/maps/grantd_bucket"};
  std::vector<std::string> paths = anothers;
  paths.insert(paths.end(), {old, newer});
  for (const std::string& path : paths) {
    const Descriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "of_before", 4, 32, 2, nullptr));
    ASSERT_TRUE(map.valid());
    ASSERT_EQ(bpf_obj_pin(map.get(), path.c_str()), 0);
  }
  node.restart(PrivateNode::small_tables());
  for (const std::string& each : {old, newer}) EXPECT_NE(access(each.c_str(), F_OK), 0) << each;
  EXPECT_EQ(access(pin.c_str(), F_OK), 0);
  for (const std::string& each : anothers) EXPECT_EQ(access(each.c_str(), F_OK), 0) << each;
}

}  // namespace
}  // namespace grantd
