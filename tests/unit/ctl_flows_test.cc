// Which flows grantctl calls in force: those that the datapath would let their next packet follow.
#include "agent/ctl/view/views.h"
#include "tests/unit/snapshot_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

namespace grantd {
namespace {

using testing::HasSubstr;

class FlowsTest : public testing::Test {
 protected:
  FlowsTest() {
    flow_.slot = 1;
    flow_.key.endpoint_id = 1;
    flow_.key.protocol = IPPROTO_UDP;
    flow_.flow.policy_id = 11;
    flow_.flow.realm_epoch = 1;
    flow_.flow.initiator = GRANTD_INITIATOR_PEER;
    flow_.flow.peer_identity = 2;
    flow_.flow.last_seen_ns = samples::kBootNow - samples::kSecond;
  }
  bool in_force() {
    node_.flows = {flow_};
    const std::string table = show_flows(node_, {}, {});
    const bool current = table.find("in force") != std::string::npos;
    EXPECT_EQ(current, table.find("judged again") == std::string::npos) << table;
    EXPECT_THAT(show_flows(node_, {}, {Output::Json, false}),
                HasSubstr(current ? "\"current\": true" : "\"current\": false"));
    return current;
  }
  void seen(std::uint64_t seconds_ago) { flow_.flow.last_seen_ns = samples::kBootNow - seconds_ago * samples::kSecond; }

  Snapshot node_ = samples::node();
  FlowEntry flow_ = samples::zeros<FlowEntry>();
};

TEST_F(FlowsTest, OfThePolicyInForce) {
  EXPECT_TRUE(in_force());
  flow_.flow.policy_id = 10;
  EXPECT_FALSE(in_force());
}

TEST_F(FlowsTest, NotIdleForTooLong) {
  const struct {
    unsigned char protocol;
    std::uint32_t flags;
    std::uint64_t seconds;
  } cases[] = {
      {IPPROTO_UDP, 0, 180}, {IPPROTO_ICMP, 0, 30}, {IPPROTO_SCTP, 0, 3600}, {IPPROTO_TCP, GRANTD_FLOW_CLOSING, 120}};
  for (const auto& each : cases) {
    flow_.key.protocol = each.protocol;
    flow_.flow.flags = each.flags;
    seen(each.seconds);
    EXPECT_TRUE(in_force()) << int{each.protocol};
    seen(each.seconds + 1);
    EXPECT_FALSE(in_force()) << int{each.protocol};
  }
  flow_.key.protocol = IPPROTO_TCP;
  flow_.flow.flags = 0;
  seen(4000);
  EXPECT_TRUE(in_force());
}

TEST_F(FlowsTest, NotOnceTheGrantHasEnded) {
  node_.policies[11].not_after_ns = samples::kBootNow;
  EXPECT_FALSE(in_force());
}

TEST_F(FlowsTest, NotWhileItIsInDoubtWhoThePeerIs) {
  flow_.flow.realm_epoch = 0;
  EXPECT_FALSE(in_force());
  flow_.flow.initiator = GRANTD_INITIATOR_GUEST;
  EXPECT_TRUE(in_force()) << "a guest began it, to whomever has that address";
}

}  // namespace
}  // namespace grantd
