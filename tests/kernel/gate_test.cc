// The tables of nftables behind the programs. What they do to packets: tests/netns/test_gate.py.
#include "agent/gate/gate.h"
#include "agent/gate/nftables_batch.h"
#include "maps/pin_root.h"
#include "tests/kernel/sandbox.h"

#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <sys/resource.h>

#include <utility>

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
  static std::string table_name() { return "grantd-" + digest_of_pin_root("/sys/fs/bpf/gate-test"); }
  // Somebody's of our name, in the family of bridges; nobody else may change it. It goes with the socket.
  static NetlinkSocket own_bridge_table() {
    constexpr std::uint32_t kOwner = 2;  // NFT_TABLE_F_OWNER
    auto owner = connect_netlink(NETLINK_NETFILTER);
    if (!owner) return {};
    NftablesBatch batch;
    batch.add(NFT_MSG_NEWTABLE, NFPROTO_BRIDGE, NLM_F_CREATE, [](nl_msg* message) {
      put_text(message, NFTA_TABLE_NAME, table_name());
      put_number(message, NFTA_TABLE_FLAGS, kOwner);
    });
    EXPECT_TRUE(batch.send(owner.value().get()).ok());
    return std::move(owner).value();
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
    NetlinkSocket owner = own_bridge_table();
    ASSERT_TRUE(owner);
    auto watch = GateWatch::open();
    ASSERT_TRUE(watch.ok());
    Gate gate("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    const auto kept = gate.keep(guests(10, 2), true);
    ASSERT_FALSE(kept.ok());
    EXPECT_FALSE(Gate::may_pass(kept.error())) << "it is not asked again and again";
    for (const char* family : {"inet", "arp"})
      EXPECT_TRUE(run("nft list table " + std::string(family) + " " + table_name() + " | grep -q veth11")) << family;
    EXPECT_FALSE(gate.standing().value().has_value());
    EXPECT_TRUE(watch.value().drain());
    EXPECT_FALSE(gate.keep(guests(10, 2), true).ok());
    EXPECT_FALSE(watch.value().drain()) << "what is as it should be is left alone, or it would wake itself for ever";
    owner.reset();  // the table goes with it
    EXPECT_TRUE(gate.keep(guests(10, 2), true).ok());
    EXPECT_EQ(gate.standing().value(), guests(10, 2));
  });
}

// No socket, for want of descriptors: that is no news of the gate.
class NoDescriptors {
 public:
  NoDescriptors() {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const rlimit none{0, before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  }
  ~NoDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }
  NoDescriptors(const NoDescriptors&) = delete;
  NoDescriptors& operator=(const NoDescriptors&) = delete;

 private:
  rlimit before_{};
};

TEST_F(GateTest, ALookThatFailsSaysNothingAndIsMadeUpFor) {
  in_netns(kNetns, [] {
    Gate gate("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    EXPECT_FALSE(gate.stands());
    ASSERT_TRUE(gate.keep(guests(10, 2), true).ok());
    EXPECT_TRUE(gate.stands());
    {
      const NoDescriptors none;
      const auto kept = gate.keep(guests(10, 2), true);
      ASSERT_FALSE(kept.ok());
      EXPECT_TRUE(Gate::may_pass(kept.error()));
      EXPECT_TRUE(gate.stands()) << "as far as is known";
      EXPECT_FALSE(gate.keep(guests(10, 1), true).ok());
      EXPECT_TRUE(gate.stands()) << "with one guest less";
      EXPECT_FALSE(gate.keep(guests(10, 3), true).ok());
      EXPECT_FALSE(gate.stands()) << "the new guest is not behind it";
    }
    ASSERT_TRUE(gate.keep(guests(10, 3), false).ok());
    EXPECT_TRUE(gate.stands());
    {
      const NoDescriptors none;
      EXPECT_FALSE(gate.keep(guests(10, 3), true).ok());
    }
    EXPECT_TRUE(run("nft flush ruleset"));
    EXPECT_TRUE(gate.keep(guests(10, 3), false).ok()) << "it looks, for it has not since";
    EXPECT_EQ(gate.mended(), 1U);
    expect_behind(guests(10, 3));
  });
}

// Somebody holds a table of our name: that is known.
TEST_F(GateTest, StandsNoMoreWhereSomebodyIsKnownToHaveTakenItsPlace) {
  in_netns(kNetns, [] {
    Gate gate("/sys/fs/bpf/gate-test", GRANTD_STAMP_MASK_DEFAULT);
    ASSERT_TRUE(gate.keep(guests(10, 2), true).ok());
    EXPECT_TRUE(run("nft flush ruleset"));
    auto owner = own_bridge_table();
    EXPECT_FALSE(gate.keep(guests(10, 2), true).ok());
    EXPECT_FALSE(gate.stands());
    owner.reset();  // the table goes with its owner
    EXPECT_TRUE(gate.keep(guests(10, 2), true).ok());
    EXPECT_TRUE(gate.stands());
  });
}

}  // namespace
}  // namespace grantd::test
