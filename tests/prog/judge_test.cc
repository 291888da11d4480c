// Who may begin what: destinations, realms, parties, protected ranges; quarantine and validity.
#include "tests/prog/fixture.h"

#include <algorithm>

namespace grantd::prog {
namespace {

class Judge : public Prog {
 protected:
  Sent out(const std::string& to, std::uint8_t protocol, const Bytes& l4) {
    const bool ipv6 = to.find(':') != std::string::npos;
    return from_guest(frame_out(ipv6 ? kWeb6 : kWeb4, to, protocol, l4));
  }
  Sent syn(const std::string& to, std::uint16_t port) { return out(to, kTcp, tcp(fresh_port(), port, kSyn)); }
};

TEST_F(Judge, DestinationsThatTheGrantNames) {
  expect(syn(kOpen4, 443), GRANTD_REASON_NEW_FLOW);
  expect(syn(kOpen4, 442), GRANTD_REASON_DESTINATION_PORT);
  expect(syn(kOpen4, 7000), GRANTD_REASON_NEW_FLOW, "a longer prefix adds to a wider one");
  expect(syn("198.51.100.8", 7000), GRANTD_REASON_DESTINATION_PORT);
  expect(out(kOpen4, kUdp, udp(fresh_port(), 5010)), GRANTD_REASON_NEW_FLOW);
  expect(out(kOpen4, kUdp, udp(fresh_port(), 5011)), GRANTD_REASON_DESTINATION_PORT);
  expect(out(kOpen4, kUdp, udp(fresh_port(), 443)), GRANTD_REASON_DESTINATION_PORT, "the protocol is part of it");
  expect(out(kOpen4, kIcmp4, icmp(8, 0, fresh_port())), GRANTD_REASON_NEW_FLOW);
  expect(out(kOpen4, kSctp, sctp(fresh_port(), 9999)), GRANTD_REASON_NEW_FLOW);
  expect(syn("198.51.99.7", 443), GRANTD_REASON_DESTINATION_PORT, "0.0.0.0/0 is named, for SCTP");
  expect(syn("2001:db8:be::1", 443), GRANTD_REASON_NEW_FLOW);
  expect(syn("2001:db8:bf::1", 443), GRANTD_REASON_DESTINATION);
}

TEST_F(Judge, PortsFromTheFirstToTheLast) {
  for (const auto& [port, opens] :
       {std::pair<std::uint16_t, bool>{4999, false}, {5000, true}, {5010, true}, {5011, false}})
    expect(out("198.51.100.8", kUdp, udp(fresh_port(), port)),
           opens ? GRANTD_REASON_NEW_FLOW : GRANTD_REASON_DESTINATION_PORT, std::to_string(port));
  // What a rule has no entry for it does not open: not port 0, and not ICMP, which has none.
  for (const char* to : {"10.42.8.1", "2001:db8:be::1"}) {
    expect(syn(to, std::string(to) == "10.42.8.1" ? 80 : 443), GRANTD_REASON_NEW_FLOW, to);
    expect(syn(to, 0), std::string(to) == "10.42.8.1" ? GRANTD_REASON_DESTINATION_PORT : GRANTD_REASON_NEW_FLOW, to);
  }
  expect(out("10.42.8.1", kIcmp4, icmp(8, 0, fresh_port())), GRANTD_REASON_DESTINATION_PORT);
  expect(out(kCarol6, kIcmp6, icmp(128, 0, fresh_port())), GRANTD_REASON_DESTINATION_PORT, "of a realm");
  expect(syn(kCarol6, 0), GRANTD_REASON_DESTINATION_PORT);
  expect(syn(kCarol6, 8443), GRANTD_REASON_NEW_FLOW);
}

// As many entries as a rule may have: the last one counts, and nothing behind it.
TEST_F(Judge, EveryEntryOfARule) {
  grantd_rule_key key{};
  key.prefixlen = GRANTD_RULE_KEY_FIXED_BITS + 32;
  key.rules_id = node().maps().policy.find(policy_id()).value()->rules_id;
  key.direction = GRANTD_EGRESS;
  key.family = GRANTD_IPV4;
  const Bytes to = address("198.18.7.7");
  std::copy(to.begin(), to.end(), key.address);
  grantd_ranges ranges{};
  for (int i = 0; i < GRANTD_RANGES_PER_RULE; i++) {
    const auto port = static_cast<__u16>(100 + i);
    ranges.range[i] = {kTcp, 0, static_cast<__u16>(1 + i), port, port};
  }
  for (const __u16 count : {__u16{GRANTD_RANGES_PER_RULE}, __u16{15}, __u16{1}, __u16{0}}) {
    ranges.count = count;
    ASSERT_TRUE(node().maps().rule.put(key, ranges).ok());
    for (int i = 0; i < GRANTD_RANGES_PER_RULE; i++) {
      const auto port = static_cast<std::uint16_t>(100 + i);
      const Bytes frame = frame_out(kWeb4, "198.18.7.7", kTcp, tcp(fresh_port(), port, kSyn));
      const grantd_explanation why = explain(Hook::FromGuest, frame, "web");
      EXPECT_EQ(why.reason, i < count ? GRANTD_REASON_NEW_FLOW
                            : count   ? GRANTD_REASON_DESTINATION_PORT
                                      : GRANTD_REASON_DESTINATION)
          << port << " of " << count;
      EXPECT_EQ(why.source, i < count ? 1 + i : 0);
    }
  }
  ranges.protected_range = 1;
  ASSERT_TRUE(node().maps().rule.put(key, ranges).ok());
  expect(syn("198.18.7.7", 100), GRANTD_REASON_PROTECTED_DESTINATION);
  ASSERT_TRUE(node().maps().rule.erase(key).ok());
}

TEST_F(Judge, TheOtherFamilyStaysClosed) {
  expect(out("198.51.100.8", kSctp, sctp(fresh_port(), 9999)), GRANTD_REASON_NEW_FLOW);
  expect(out("2001:db8:99::1", kSctp, sctp(fresh_port(), 9999)), GRANTD_REASON_DESTINATION);
}

TEST_F(Judge, TheGranteesRealmAndNoOther) {
  for (const char* to : {kBob4, kBob6, "100.64.7.9"}) expect(syn(to, 22), GRANTD_REASON_NEW_FLOW, to);
  expect(syn(kAlice4, 22), GRANTD_REASON_DESTINATION_PORT, "the grantor's network is no destination");
  expect(syn(kAlice6, 22), GRANTD_REASON_DESTINATION);
  expect(syn(kCarol6, 8443), GRANTD_REASON_NEW_FLOW, "realm:carol:8443/TCP");
  expect(syn(kCarol4, 8443), GRANTD_REASON_NEW_FLOW);
  expect(syn(kCarol6, 8444), GRANTD_REASON_DESTINATION_PORT);
}

TEST_F(Judge, AProtectedRangeOpensOnlyFromInside) {
  for (const char* to : {"10.42.7.7", "10.43.0.1", "169.254.169.254", kNode4})
    expect(out(to, kSctp, sctp(fresh_port(), 9999)), GRANTD_REASON_PROTECTED_DESTINATION, to);
  expect(syn("10.42.8.1", 80), GRANTD_REASON_NEW_FLOW);
  expect(syn("10.42.8.1", 81), GRANTD_REASON_DESTINATION_PORT);
  expect(out("10.44.7.7", kSctp, sctp(fresh_port(), 9999)), GRANTD_REASON_NEW_FLOW, "beside the ranges");
}

TEST_F(Judge, GuestsOfTheSameGrantReachEachOther) {
  expect(syn(kDb4, 5432), GRANTD_REASON_NEW_FLOW);
  expect(syn(kDb6, 5432), GRANTD_REASON_NEW_FLOW);
  expect(to_guest(frame_in(kWeb4, kDb4, kTcp, tcp(fresh_port(), 5432, kSyn)), "ns/bob", "db"), GRANTD_REASON_NEW_FLOW);
  expect(syn("10.20.0.7", 80), GRANTD_REASON_DESTINATION_PORT, "a guest of another Grant");
  expect(to_guest(frame_in(kWeb4, "10.20.0.7", kTcp, tcp(fresh_port(), 80, kSyn)), "ns/bob", "far"),
         GRANTD_REASON_NOT_A_PARTY);
}

TEST_F(Judge, OnlyPartiesReachIn) {
  for (const auto& [source, destination] : {std::pair{kBob4, kWeb4}, std::pair{kBob6, kWeb6}}) {
    const auto in = [&](const char* identity) {
      return to_guest(frame_in(source, destination, kTcp, tcp(fresh_port(), 80, kSyn)), identity);
    };
    for (const char* party : {"bob", "alice", "ns/bob", "local"}) expect(in(party), GRANTD_REASON_NEW_FLOW, party);
    expect(in("carol"), GRANTD_REASON_NOT_A_PARTY);
    expect(in("ns/other"), GRANTD_REASON_NOT_A_PARTY);
    expect(in(""), GRANTD_REASON_NOBODY, "the source address alone makes nobody a party");
  }
}

// No Grant narrows a party to ports yet; the record can, and the programs hold to it.
TEST_F(Judge, APartyReachesThePortsOfItsRuleAlone) {
  const std::uint32_t rules = node().maps().policy.find(policy_id()).value()->rules_id;
  const grantd_idrule_key key{rules, identity_of("alice"), GRANTD_INGRESS};
  const grantd_ranges before = *node().maps().idrule.find(key).value();
  grantd_ranges narrow{};
  narrow.count = 1;
  narrow.range[0] = {kTcp, 0, 0, 80, 81};
  ASSERT_TRUE(node().maps().idrule.put(key, narrow).ok());
  for (const auto& [source, destination, echo] :
       {std::tuple{kAlice4, kWeb4, frame_in(kAlice4, kWeb4, kIcmp4, icmp(8, 0, fresh_port()))},
        {kAlice6, kWeb6, frame_in(kAlice6, kWeb6, kIcmp6, icmp(128, 0, fresh_port()))}}) {
    const auto syn = [&](std::uint16_t port, const char* identity) {
      return to_guest(frame_in(source, destination, kTcp, tcp(fresh_port(), port, kSyn)), identity);
    };
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{80, 81}) {
      expect(syn(port, "alice"), GRANTD_REASON_NEW_FLOW, std::to_string(port));
      expect(to_guest(frame_in(source, destination, kUdp, udp(fresh_port(), port)), "alice"), GRANTD_REASON_PARTY_PORT,
             "another protocol");
    }
    for (const std::uint16_t port : std::initializer_list<std::uint16_t>{79, 82}) {
      expect(syn(port, "alice"), GRANTD_REASON_PARTY_PORT, std::to_string(port));
      expect(syn(port, "bob"), GRANTD_REASON_NEW_FLOW, "another party is not narrowed");
    }
    expect(to_guest(echo, "alice"), GRANTD_REASON_PARTY_PORT, "an echo");
    expect(to_guest(echo, "bob"), GRANTD_REASON_NEW_FLOW, "an echo");
  }
  ASSERT_TRUE(node().maps().idrule.put(key, before).ok());
}

TEST_F(Judge, AForeignMarkIsNoStamp) {
  const auto in = [&](std::uint32_t mark) {
    Context context;
    context.mark = mark;
    return to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(fresh_port(), 80, kSyn)), "", "web", context);
  };
  expect(in(stamp_of("bob")), GRANTD_REASON_NEW_FLOW);
  expect(in(identity_of("bob")), GRANTD_REASON_NOBODY, "the number without the tag");
  expect(in(stamp_of("bob") ^ 0x01000000), GRANTD_REASON_NOBODY, "another tag");
  expect(in((stamp_of("bob") & ~0x1fffU) | GRANTD_IDENTITY_LOCAL_NODE), GRANTD_REASON_NOBODY,
         "LOCAL_NODE is never stamped");
  expect(in(stamp_of("bob") | 0x00ffe000), GRANTD_REASON_NEW_FLOW, "bits of others beside the stamp");
}

TEST_F(Judge, APacketThatWasForwardedIsNotTheNodesOwn) {
  const Bytes frame = frame_in(kNode4, kWeb4, kTcp, tcp(fresh_port(), 80, kSyn));
  expect(to_guest(frame, "local"), GRANTD_REASON_NEW_FLOW);
  const Bytes forwarded = frame_in(kNode4, kWeb4, kTcp, tcp(fresh_port(), 80, kSyn));
  expect(to_guest(forwarded, ""), GRANTD_REASON_NOBODY);
}

TEST_F(Judge, AStampSaysWhoItIsAlsoWhereTheInterfaceIsForgotten) {
  const auto in = [this](std::uint32_t mark) {
    Context context;
    context.mark = mark;
    return to_guest(frame_in(kCarol4, kWeb4, kTcp, tcp(fresh_port(), 80, kSyn)), "local", "web", context);
  };
  expect(in(stamp_of("carol")), GRANTD_REASON_NOT_A_PARTY);
  expect(in(stamp_of("bob")), GRANTD_REASON_NEW_FLOW);
  expect(in(0x4000), GRANTD_REASON_NEW_FLOW, "the node's own, with a mark of somebody else's");
}

TEST_F(Judge, QuarantineDeniesEverythingBothWays) {
  expect(from_guest(frame_out("10.20.0.5", kBob4, kTcp, tcp(1, 80, kSyn)), "orphan"), GRANTD_REASON_QUARANTINE);
  expect(from_guest(ethernet("ff:ff:ff:ff:ff:ff", kGuestMac, 0x0806,
                             arp(1, kGuestMac, "10.20.0.5", "00:00:00:00:00:00", "10.20.0.1")),
                    "orphan"),
         GRANTD_REASON_QUARANTINE);
  expect(to_guest(frame_in(kBob4, "10.20.0.5", kTcp, tcp(1, 80, kSyn)), "bob", "orphan"), GRANTD_REASON_QUARANTINE);
  expect(to_guest(frame_in(kNode4, "10.20.0.5", kTcp, tcp(1, 80, kSyn)), "local", "orphan"), GRANTD_REASON_QUARANTINE);
}

TEST_F(Judge, OutsideOfItsTimeAGrantDeniesEverything) {
  for (const auto& [guest, address, reason] :
       {std::tuple{"late", "10.20.0.4", GRANTD_REASON_EXPIRED}, {"early", "10.20.0.6", GRANTD_REASON_NOT_YET_VALID}}) {
    expect(from_guest(frame_out(address, kBob4, kTcp, tcp(1, 80, kSyn)), guest), reason);
    expect(from_guest(ethernet("ff:ff:ff:ff:ff:ff", kGuestMac, 0x0806,
                               arp(1, kGuestMac, address, "00:00:00:00:00:00", "10.20.0.1")),
                      guest),
           reason, "ARP");
    expect(to_guest(frame_in(kBob4, address, kTcp, tcp(1, 80, kSyn)), "bob", guest), reason);
  }
  expect(from_guest(frame_out("10.20.0.7", kCarol4, kTcp, tcp(1, 80, kSyn)), "far"), GRANTD_REASON_NEW_FLOW);
}

TEST_F(Judge, AnInterfaceWithoutARecordDropsEverything) {
  const Bytes frame = frame_out(kWeb4, kBob4, kTcp, tcp(fresh_port(), 80, kSyn));
  expect(from_guest(frame), GRANTD_REASON_NEW_FLOW);
  const auto uplink = node().ifindex("uplink0");
  const auto before = counter(0, GRANTD_EGRESS, GRANTD_REASON_NO_ENDPOINT);
  EXPECT_FALSE(run(Hook::FromGuest, frame, uplink, {}).passes);
  EXPECT_FALSE(run(Hook::ToGuest, frame, uplink, {}).passes);
  EXPECT_EQ(counter(0, GRANTD_EGRESS, GRANTD_REASON_NO_ENDPOINT).packets, before.packets + 1);
}

// ---- what user space did not finish, or what is gone, never opens anything ----

TEST_F(Judge, WithoutItsPolicyAGrantIsClosed) {
  const auto slot = slot_of("bob");
  const auto fresh = [] { return frame_out(kWeb4, kBob4, kTcp, tcp(fresh_port(), 80, kSyn)); };
  const Bytes frame = fresh();
  const auto policy_id = node().maps().grant.find(slot).value()->policy_id;
  const auto policy = *node().maps().policy.find(policy_id).value();
  expect(from_guest(frame), GRANTD_REASON_NEW_FLOW);
  ASSERT_TRUE(node().maps().policy.erase(policy_id).ok());
  expect(from_guest(fresh()), GRANTD_REASON_POLICY_MISSING);
  grantd_policy of_another = policy;
  of_another.slot = slot + 1;
  ASSERT_TRUE(node().maps().policy.put(policy_id, of_another).ok());
  expect(from_guest(fresh()), GRANTD_REASON_POLICY_MISSING, "a record of another slot");
  ASSERT_TRUE(node().maps().policy.put(policy_id, policy).ok());
  expect(from_guest(frame), GRANTD_REASON_ESTABLISHED);
  node().datapath().publish(slot, 0);
  expect(from_guest(frame), GRANTD_REASON_QUARANTINE);
  node().datapath().publish(slot, policy_id);
  expect(from_guest(frame), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Judge, WithoutItsTablesAGrantIsClosed) {
  const auto slot = slot_of("other");
  const Bytes frame = frame_out("10.20.0.7", kCarol4, kTcp, tcp(fresh_port(), 80, kSyn));
  const auto passes = [&] { return run(Hook::FromGuest, frame, interface_of("far"), {}).passes; };
  expect(from_guest(frame, "far"), GRANTD_REASON_NEW_FLOW);
  ASSERT_TRUE(node().maps().counter.erase(slot).ok());
  EXPECT_FALSE(passes()) << "what cannot be counted, though its flow is there";
  ASSERT_TRUE(node().datapath().make_tables({slot}, 1024).ok());
  EXPECT_TRUE(passes());
  ASSERT_TRUE(node().maps().flow.erase(slot).ok());
  expect(from_guest(frame, "far"), GRANTD_REASON_TABLE_MISSING);
  ASSERT_TRUE(node().datapath().make_tables({slot}, 1024).ok());
  expect(from_guest(frame, "far"), GRANTD_REASON_NEW_FLOW);
}

TEST_F(Judge, ARecordThatIsBeingReplacedAdmitsNothing) {
  const auto ifindex = interface_of("web");
  const Bytes frame = frame_out(kWeb4, kBob4, kTcp, tcp(fresh_port(), 80, kSyn));
  const auto record = *node().maps().endpoint.find(ifindex).value();
  grantd_endpoint torn = record;
  torn.version_again++;
  ASSERT_TRUE(node().maps().endpoint.put(ifindex, torn).ok());
  EXPECT_FALSE(run(Hook::FromGuest, frame, ifindex, {}).passes);
  grantd_endpoint of_another = record;
  of_another.ifindex++;
  ASSERT_TRUE(node().maps().endpoint.put(ifindex, of_another).ok());
  EXPECT_FALSE(run(Hook::FromGuest, frame, ifindex, {}).passes);
  ASSERT_TRUE(node().maps().endpoint.put(ifindex, record).ok());
  EXPECT_TRUE(run(Hook::FromGuest, frame, ifindex, {}).passes);
}

}  // namespace
}  // namespace grantd::prog
