// Guests without an Ethernet header, and guests that share the host's addresses; uplinks without one; other masks of
// the stamp. BPF_PROG_TEST_RUN takes the first bytes of every frame for an Ethernet header, so that a packet without
// one is of the type that its bytes 12 and 13 say: those of its source.
#include "agent/snapshot/snapshot.h"
#include "tests/prog/fixture.h"

#include <algorithm>

namespace grantd::prog {
namespace {

constexpr const char *kOwn4 = "8.0.0.2", *kOwn6 = "fd00:20:86dd::2";  // types of IPv4 and IPv6

void set(void* into, const char* text) {
  const Bytes bytes = address(text);
  std::copy(bytes.begin(), bytes.end(), static_cast<std::uint8_t*>(into));
}

class GuestKind : public Prog {
 protected:
  void SetUp() override { web_ = endpoint_of("web"); }
  void TearDown() override { put_endpoint(web_); }
  void become(std::uint32_t flags) {
    grantd_endpoint changed = web_;
    changed.flags = flags;
    set(&changed.ipv4[1], kOwn4);
    set(&changed.ipv6[1], kOwn6);
    put_endpoint(changed);
  }
  // The reason that the program itself counts a frame under.
  std::string reason_of(Hook hook, const Bytes& frame, const Context& context = {}) {
    const auto direction = hook == Hook::FromGuest ? GRANTD_EGRESS : GRANTD_INGRESS;
    const auto before = node().maps().counters(web_.slot).value();
    run(hook, frame, web_.ifindex, context);
    const auto after = node().maps().counters(web_.slot).value();
    for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
      const std::size_t at = GRANTD_COUNTER_INDEX(direction, reason);
      if (after[at].packets != before[at].packets) return reason_label(static_cast<grantd_reason>(reason));
    }
    return "none";
  }

  grantd_endpoint web_{};
};

TEST_F(GuestKind, WithoutAnEthernetHeader) {
  become(GRANTD_ENDPOINT_LAYER3);
  const auto syn = [](std::size_t payload = 0) { return tcp(fresh_port(), 80, kSyn, payload); };
  EXPECT_EQ(reason_of(Hook::FromGuest, ipv4({kOwn4, kBob4, kTcp, 0, 0, {}}, syn())), "new_flow");
  EXPECT_EQ(reason_of(Hook::FromGuest, ipv6({kOwn6, kBob6, kTcp, 64}, syn())), "new_flow");
  EXPECT_EQ(reason_of(Hook::FromGuest, ipv4({"8.0.0.3", kBob4, kTcp, 0, 0, {}}, syn())), "source_address");
  EXPECT_EQ(reason_of(Hook::FromGuest, ipv4({kOwn4, kStranger4, kTcp, 0, 0, {}}, syn())), "destination_port");
  EXPECT_EQ(reason_of(Hook::FromGuest, ipv6({kOwn6, "ff02::1", kIcmp6, 255}, neighbour(135, "fe80::1"))), "icmp_type")
      << "neighbours it has none";
  // What is neither IPv4 nor IPv6 by the packet's type.
  EXPECT_EQ(reason_of(Hook::FromGuest, frame_out(kWeb4, kBob4, kTcp, syn())), "malformed") << "an Ethernet header";
  EXPECT_EQ(reason_of(Hook::FromGuest, ipv4({"8.6.0.2", kBob4, kTcp, 0, 0, {}}, syn(20))), "ethertype") << "ARP's";
  // Its packets weigh what they are, without a header.
  const auto before = counter(web_.slot, GRANTD_EGRESS, GRANTD_REASON_NEW_FLOW).bytes;
  const Bytes packet = ipv4({kOwn4, kBob4, kTcp, 0, 0, {}}, syn());
  EXPECT_TRUE(run(Hook::FromGuest, packet, web_.ifindex, {}).passes);
  EXPECT_EQ(counter(web_.slot, GRANTD_EGRESS, GRANTD_REASON_NEW_FLOW).bytes, before + packet.size());
}

TEST_F(GuestKind, AnAnswerForOneWithoutAnEthernetHeader) {
  become(GRANTD_ENDPOINT_LAYER3);
  Context bob;
  bob.mark = stamp_of("bob");
  bob.ingress_ifindex = node().ifindex("uplink0");
  // From an address that is a type of IPv4's.
  EXPECT_EQ(reason_of(Hook::ToGuest, ipv4({"8.0.0.9", kOwn4, kTcp, 0, 0, {}}, tcp(80, fresh_port(), kSyn)), bob),
            "new_flow");
}

// A dry run's frames have the header.
TEST_F(GuestKind, WithoutAnEthernetHeaderInADryRun) {
  const Bytes others = ethernet(kGuestMac, kFarMac, 0x0800, ipv4({kWeb4, kBob4}, tcp(fresh_port(), 80, kSyn)));
  const Bytes question =
      ethernet("ff:ff:ff:ff:ff:ff", kGuestMac, 0x0806, arp(1, kGuestMac, kWeb4, "00:00:00:00:00:00", "10.20.0.1"));
  EXPECT_EQ(explain(Hook::FromGuest, others, "web").reason, GRANTD_REASON_SOURCE_MAC);
  EXPECT_EQ(explain(Hook::FromGuest, question, "web").reason, GRANTD_REASON_HOUSEKEEPING);
  become(GRANTD_ENDPOINT_LAYER3);
  EXPECT_EQ(explain(Hook::FromGuest, others, "web").reason, GRANTD_REASON_NEW_FLOW) << "no MAC is its own";
  EXPECT_EQ(explain(Hook::FromGuest, question, "web").reason, GRANTD_REASON_ETHERTYPE) << "nor is there ARP";
  EXPECT_EQ(explain(Hook::FromGuest, frame_out(kDb4, kBob4, kTcp, tcp(1, 80, kSyn)), "web").reason,
            GRANTD_REASON_SOURCE_ADDRESS);
}

TEST_F(GuestKind, OnTheHostsNetworkEveryAddressIsTheHosts) {
  const Bytes others = frame_out(kNode4, kBob4, kTcp, tcp(fresh_port(), 80, kSyn)),
              discovery = ethernet(kFarMac, kGuestMac, 0x86dd,
                                   ipv6({kWeb6, "ff02::1:ff00:1", kIcmp6, 255}, neighbour(135, "fe80::1")));
  EXPECT_EQ(reason_of(Hook::FromGuest, others), "source_address");
  EXPECT_EQ(reason_of(Hook::FromGuest, discovery), "housekeeping");
  become(GRANTD_ENDPOINT_HOST_NETWORK);
  EXPECT_EQ(reason_of(Hook::FromGuest, others), "new_flow");
  EXPECT_EQ(reason_of(Hook::FromGuest, discovery), "icmp_type");
  EXPECT_EQ(reason_of(Hook::FromGuest, frame_out(kNode4, kStranger4, kTcp, tcp(1, 80, kSyn))), "destination_port");
}

// ---- uplinks without an Ethernet header ----

TEST_F(GuestKind, AnUplinkWithoutAnEthernetHeader) {
  const auto ifindex = node().ifindex("uplink0");
  const grantd_uplink before = *node().maps().uplink.find(ifindex).value();
  const auto put = [&](std::uint8_t layer3, std::uint8_t uplink_class, std::uint32_t record_of) {
    grantd_uplink changed = before;
    changed.layer3 = layer3;
    changed.uplink_class = uplink_class;
    changed.ifindex = record_of;
    ASSERT_TRUE(node().maps().uplink.put(ifindex, changed).ok());
  };
  grantd_identity_key four{}, six{};
  four.prefixlen = GRANTD_IDENTITY_KEY_FIXED_BITS + 24;
  six.prefixlen = GRANTD_IDENTITY_KEY_FIXED_BITS + 48;
  four.uplink_class = six.uplink_class = GRANTD_UPLINK_LAN;
  four.family = GRANTD_IPV4;
  six.family = GRANTD_IPV6;
  set(four.address, "8.0.0.0");
  set(six.address, "fd00:20:86dd::");
  const grantd_identity carol{identity_of("carol")};
  ASSERT_TRUE(node().maps().identity.put(four, carol).ok());
  ASSERT_TRUE(node().maps().identity.put(six, carol).ok());
  const Bytes packet4 = ipv4({kOwn4, kWeb4, kTcp, 0, 0, {}}, tcp(80, fresh_port(), kSyn)),
              packet6 = ipv6({kOwn6, kWeb6, kTcp, 64}, tcp(80, fresh_port(), kSyn)),
              frame = frame_in(kBob4, kWeb4, kTcp, tcp(80, fresh_port(), kSyn));
  EXPECT_EQ(from_uplink(packet4, "uplink0"), 0U);
  EXPECT_EQ(from_uplink(frame, "uplink0"), stamp_of("bob"));
  put(1, GRANTD_UPLINK_LAN, ifindex);
  EXPECT_EQ(from_uplink(packet4, "uplink0"), stamp_of("carol"));
  EXPECT_EQ(from_uplink(packet6, "uplink0"), stamp_of("carol"));
  EXPECT_EQ(from_uplink(frame, "uplink0"), 0U);
  // Nobody is believed on an uplink that nobody vouches for, on none at all, and on another's record.
  put(0, GRANTD_UPLINK_UNTRUSTED, ifindex);
  EXPECT_EQ(from_uplink(frame, "uplink0"), 0U);
  put(0, GRANTD_UPLINK_DESTINATION, ifindex);
  EXPECT_EQ(from_uplink(frame, "uplink0"), 0U);
  put(0, GRANTD_UPLINK_LAN, ifindex + 1);
  EXPECT_EQ(from_uplink(frame, "uplink0"), 0U);
  put(0, GRANTD_UPLINK_LAN, ifindex);
  EXPECT_EQ(from_uplink(frame, "uplink0"), stamp_of("bob"));
  ASSERT_TRUE(node().maps().uplink.put(ifindex, before).ok());
  ASSERT_TRUE(node().maps().identity.erase(four).ok());
  ASSERT_TRUE(node().maps().identity.erase(six).ok());
}

TEST_F(GuestKind, WhatAnUplinkRefusesIsCounted) {
  const Bytes piece = ethernet(kGuestMac, kFarMac, 0x0800, ipv4({kBob4, kWeb4, kUdp, 7, 0x2000}, zeros(64)));
  const auto before = counter(0, GRANTD_INGRESS, GRANTD_REASON_NOBODY);
  EXPECT_FALSE(passes_uplink(piece, "tail0"));
  const auto after = counter(0, GRANTD_INGRESS, GRANTD_REASON_NOBODY);
  EXPECT_EQ(after.packets, before.packets + 1);
  EXPECT_EQ(after.bytes, before.bytes + piece.size());
}

// ---- stamps at other places of the mark ----

TEST_F(GuestKind, AStampStandsWhereItsMaskSays) {
  const std::uint32_t bob = identity_of("bob"), own = identity_of("ns/bob");
  for (const std::uint32_t mask : {0xff001fffU, 0xfffff000U, 0xf01fff0fU, 0x7ffffff8U}) {
    const StampSettings settings = stamp_settings(mask).value();
    const auto dry_run = DryRun::load(node().pin_root(), settings).value();
    const auto stamp = [&](std::uint32_t identity) { return settings.tag | identity << settings.identity_shift; };
    DryPacket out;
    out.frame = frame_out(kWeb4, kBob4, kTcp, tcp(fresh_port(), 80, kSyn));
    out.ifindex = web_.ifindex;
    for (const std::uint32_t mark : {0U, 0xffffffffU, 0x12345678U}) {
      out.mark = mark;
      EXPECT_EQ(dry_run->from_guest(out).value().mark, (mark & ~mask) | stamp(own)) << hexadecimal(mask);
    }
    const auto from_uplink = [&](const char* source, std::uint32_t mark) {
      DryPacket in;
      in.frame = frame_in(source, kWeb4, kTcp, tcp(80, fresh_port(), kSyn));
      in.ifindex = node().ifindex("uplink0");
      in.mark = mark;
      const DryVerdict verdict = dry_run->from_uplink(in).value();
      EXPECT_EQ(verdict.explanation.concluded, 1);
      EXPECT_EQ(verdict.action, static_cast<std::uint32_t>(TC_ACT_UNSPEC));
      return verdict;
    };
    EXPECT_EQ(from_uplink(kBob4, 0xffffffff).mark, ~mask | stamp(bob));
    EXPECT_EQ(from_uplink(kBob4, 0).explanation.identity, bob);
    EXPECT_EQ(from_uplink(kStranger4, 0xffffffff).mark, ~mask);
    EXPECT_EQ(from_uplink(kStranger4, 0).explanation.identity, 0U);
    const auto sender = [&](std::uint32_t mark) {
      DryPacket in;
      in.frame = frame_in(kCarol4, kWeb4, kTcp, tcp(80, fresh_port(), kSyn));
      in.ifindex = web_.ifindex;
      in.ingress_ifindex = node().ifindex("uplink0");
      in.mark = mark;
      const grantd_explanation why = dry_run->to_guest(in).value().explanation;
      EXPECT_EQ(why.reason, why.identity == bob                      ? GRANTD_REASON_NEW_FLOW
                            : why.identity == GRANTD_IDENTITY_NOBODY ? GRANTD_REASON_NOBODY
                                                                     : GRANTD_REASON_NOT_A_PARTY);
      return why.identity;
    };
    EXPECT_EQ(sender(stamp(bob)), bob) << hexadecimal(mask);
    EXPECT_EQ(sender(stamp(bob) | ~mask), bob) << "bits of others beside it";
    EXPECT_EQ(sender(stamp(identity_of("carol"))), identity_of("carol"));
    EXPECT_EQ(sender(stamp(GRANTD_IDENTITY_LOCAL_NODE)), 0U);
    EXPECT_EQ(sender(stamp(GRANTD_IDENTITY_FIRST) & ~settings.tag), 0U);
    EXPECT_EQ(sender(0), 0U);
    const std::uint32_t tag_bits = mask & ~(settings.identity_mask << settings.identity_shift);
    for (std::uint32_t bit = 1; bit; bit <<= 1) {
      const std::uint32_t other = stamp(bob) ^ (tag_bits & bit);
      EXPECT_EQ(sender(other), tag_bits & bit ? 0U : bob) << "another tag: " << hexadecimal(other);
    }
  }
}

}  // namespace
}  // namespace grantd::prog
