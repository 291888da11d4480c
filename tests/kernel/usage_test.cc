// What guests under a limit used, in a table in which the kernel makes room by taking the oldest entry.
#include "tests/kernel/private_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace grantd {
namespace {

constexpr const char* kOpen = "203.0.113.7";
const Probe kHttps{Protocol::Tcp, 443};

class Usage : public testing::Test {
 protected:
  // The guests, by endpoint_id, of which it is known what they used.
  std::set<std::uint32_t> counted() {
    auto keys = node_.maps().usage.keys();
    EXPECT_TRUE(keys.ok());
    std::set<std::uint32_t> ids;
    for (const grantd_usage_key& key : keys.value()) ids.insert(key.endpoint_id);
    return ids;
  }
  void put_under(const std::string& guest, const std::string& grant) {
    const auto found = std::ranges::find(node_.desired().workloads, guest, &Workload::name);
    ASSERT_NE(found, node_.desired().workloads.end());
    found->grant = "keystone-system/" + grant;
    node_.apply();
  }

  PrivateNode node_;
};

// Else a guest that comes and goes would take the places of other Grants' guests that are idle.
TEST_F(Usage, IsForgottenWithAGuestThatLeavesItsGrant) {
  ASSERT_TRUE(node_.send("bob-db", kOpen, kHttps));
  const std::set<std::uint32_t> idle = counted();
  ASSERT_EQ(idle.size(), 1U);
  std::set<std::uint32_t> seen = idle;
  for (std::size_t turn = 1; turn <= 3; turn++) {
    ASSERT_TRUE(node_.send("bob-web", kOpen, kHttps));
    ASSERT_EQ(counted().size(), 2U) << "the control";
    const std::set<std::uint32_t> now = counted();
    seen.insert(now.begin(), now.end());
    EXPECT_EQ(seen.size(), 1 + turn) << "each time under another number";
    for (const std::uint32_t id : now) ASSERT_TRUE(node_.maps().usage.put({id, GRANTD_INGRESS}, {}).ok());
    put_under("bob-web", "none");
    EXPECT_EQ(counted(), idle);
    put_under("bob-web", "bob");
  }
}

}  // namespace
}  // namespace grantd
