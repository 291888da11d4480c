// The tables of nftables behind the programs. What they do to packets: tests/netns/test_gate.py.
#include "agent/gate/gate.h"
#include "agent/gate/nftables_batch.h"
#include "maps/pin_root.h"
#include "tests/kernel/sandbox.h"

#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

namespace grantd::test {
namespace {

constexpr const char* kNetns = "kt-gate";

class GateTest : public testing::Test {
 protected:
  GateTest() { EXPECT_TRUE(run(std::string("ip netns add ") + kNetns)); }
  ~GateTest() override { run(std::string("ip netns del ") + kNetns); }

  // Each with an address of either family.
  static Gated guests(std::uint32_t first, std::uint32_t count) {
    Gated all;
    for (std::uint32_t number = first; number < first + count; number++) {
      all.guests.insert({number, "veth" + std::to_string(number)});
      const std::uint8_t high = static_cast<std::uint8_t>(number >> 8), low = static_cast<std::uint8_t>(number);
      all.addresses.insert({Family::IPv4, {10, 0, high, low}});
      all.addresses.insert({Family::IPv6, {0xfd, 0, high, low}});
    }
    all.uplinks = {{2, "uplink0"}, {3, "tail0"}};
    return all;
  }
  // What a gate of its own reads back is what is wanted, and nothing of it has to be mended.
  static void expect_behind(const Gated& wanted) {
    Gate another("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    EXPECT_TRUE(another.keep(wanted, true).ok());
    EXPECT_TRUE(another.keep(wanted, true).ok());
    EXPECT_EQ(another.mended(), 0U);
    EXPECT_EQ(another.standing().value(), wanted);
  }
};

TEST_F(GateTest, HoldsMoreThanOneMessageOrOneBufferTakes) {
  in_netns(kNetns, [] {
    Gate gate("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    for (const auto& wanted : {guests(10, 1), guests(10, 9000), guests(4000, 9000), guests(1, 0), guests(10, 9000)}) {
      const auto kept = gate.keep(wanted, false);
      ASSERT_TRUE(kept.ok()) << kept.error().message;
      expect_behind(wanted);
    }
    EXPECT_EQ(gate.mended(), 0U);
    ASSERT_TRUE(gate.remove().ok());
    EXPECT_TRUE(gate.remove().ok()) << "what is not there is no error";
  });
}

TEST_F(GateTest, TellsOfItsOwnTablesAlone) {
  in_netns(kNetns, [] {
    auto watch = GateWatch::open();
    ASSERT_TRUE(watch.ok());
    EXPECT_TRUE(run("nft add table inet somebody"));
    EXPECT_FALSE(watch.value().drain());
    Gate gate("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    ASSERT_TRUE(gate.keep(guests(10, 1), false).ok());
    EXPECT_TRUE(watch.value().drain());
    EXPECT_FALSE(watch.value().drain());
    EXPECT_TRUE(run("nft flush ruleset"));
    EXPECT_TRUE(watch.value().drain());
    ASSERT_TRUE(gate.keep(guests(10, 1), true).ok());
    EXPECT_EQ(gate.mended(), 1U);
  });
}

// As a kernel that lacks one, or somebody who holds a table of our name.
TEST_F(GateTest, OneFamilyThatFailsLeavesTheOthersAsTheyShouldBe) {
  in_netns(kNetns, [] {
    constexpr std::uint32_t kOwner = 2;  // NFT_TABLE_F_OWNER
    auto others = connect_netlink(NETLINK_NETFILTER);
    ASSERT_TRUE(others.ok());
    const std::string name = "grantd-" + digest_of_pin_root("/sys/fs/bpf/gate-test");
    NftablesBatch batch;
    batch.add(NFT_MSG_NEWTABLE, NFPROTO_BRIDGE, NLM_F_CREATE, [&](nl_msg* message) {
      put_text(message, NFTA_TABLE_NAME, name);
      put_number(message, NFTA_TABLE_FLAGS, kOwner);
    });
    ASSERT_TRUE(batch.send(others.value().get()).ok());
    auto watch = GateWatch::open();
    ASSERT_TRUE(watch.ok());
    Gate gate("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    const auto kept = gate.keep(guests(10, 2), true);
    ASSERT_FALSE(kept.ok());
    EXPECT_FALSE(Gate::may_pass(kept.error())) << "it is not asked again and again";
    for (const char* family : {"inet", "arp"})
      EXPECT_TRUE(run("nft list table " + std::string(family) + " " + name + " | grep -q veth11")) << family;
    EXPECT_FALSE(gate.standing().value().has_value());
    EXPECT_TRUE(watch.value().drain());
    EXPECT_FALSE(gate.keep(guests(10, 2), true).ok());
    EXPECT_FALSE(watch.value().drain()) << "what is as it should be is left alone, or it would wake itself for ever";
    others = connect_netlink(NETLINK_NETFILTER);  // the table goes with its owner
    EXPECT_TRUE(gate.keep(guests(10, 2), true).ok());
    EXPECT_EQ(gate.standing().value(), guests(10, 2));
  });
}

}  // namespace
}  // namespace grantd::test
