// What stands in a flow's record, and what is read of it: its seal, times and marks (rules 3 and 4).
#include "agent/node/clock.h"
#include "tests/prog/fixture.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace grantd::prog {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;

class FlowRecord : public Prog {
 protected:
  void SetUp() override { port_ = fresh_port(); }

  FlowTable table(const std::string& grant = "bob") { return *node().maps().flow_table(slot_of(grant)).value(); }
  // The flow of the guest's port port_, or with this echo id; it must be there.
  std::pair<grantd_flow_key, grantd_flow> record(const std::string& grant = "bob") {
    const auto all = table(grant).entries().value();
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const auto& each) { return each.first.local_port == port_; });
    if (found == all.end()) throw std::runtime_error("no flow");
    return {found->first, found->second};
  }
  template <typename Change>
  void change(Change apply) {
    auto [key, flow] = record();
    apply(flow);
    flow.seal = seal(key, flow);
    ASSERT_TRUE(table().put(key, flow).ok());
  }
  Bytes out(std::uint8_t protocol, const Bytes& l4) { return frame_out(kWeb4, kBob4, protocol, l4); }
  bool passes_in(std::uint8_t protocol, const Bytes& l4) {
    Context nobody;
    nobody.ingress_ifindex = node().ifindex("uplink0");
    return run(Hook::ToGuest, frame_in(kBob4, kWeb4, protocol, l4), interface_of("web"), nobody).passes;
  }
  bool ack_out() { return run(Hook::FromGuest, out(kTcp, tcp(port_, 80, kAck)), interface_of("web"), {}).passes; }
  void begin_tcp() { expect(from_guest(out(kTcp, tcp(port_, 80, kSyn))), GRANTD_REASON_NEW_FLOW); }

  std::uint16_t port_ = 0;
};

// Tables outlive the agent: one that seals in another way finds none of the flows that it takes over.
TEST_F(FlowRecord, ItsSealIsTheOneThatEarlierAgentsMade) {
  const char *local6 = "fd00:20:1234:5678:9abc:def0:8765:4321", *peer6 = "2001:db8:b0b:f123:9456:789a:bcde:f012";
  const grantd_endpoint web = endpoint_of("web");
  grantd_endpoint more = web;
  const Bytes bytes = address(local6);
  std::copy(bytes.begin(), bytes.end(), more.ipv6[3].bytes);
  put_endpoint(more);
  const auto expect_seal = [&] {
    const auto [key, flow] = record();
    EXPECT_EQ(flow.seal, seal(key, flow)) << int{key.protocol};
  };
  const auto begins = [&](const Bytes& frame) { expect(from_guest(frame), GRANTD_REASON_NEW_FLOW); };
  begins(out(kTcp, tcp(port_, 443, kSyn)));
  expect_seal();
  port_ = fresh_port();
  begins(frame_out(local6, peer6, kUdp, udp(port_, 0xf234)));
  expect_seal();
  port_ = fresh_port();
  begins(out(kIcmp4, icmp(8, 0, port_)));
  expect_seal();
  port_ = fresh_port();
  expect(to_guest(frame_in(peer6, local6, kIcmp6, icmp(128, 0, port_)), "bob"), GRANTD_REASON_NEW_FLOW);
  expect_seal();
  put_endpoint(web);
}

// As where the element is just written for another flow, in whatever order.
TEST_F(FlowRecord, HalfAnothersItIsNobodys) {
  const auto limits = republish([&](grantd_policy& policy) {
    policy.limit[GRANTD_EGRESS] = node().maps().policy.find(policy_id("slow")).value()->limit[GRANTD_EGRESS];
  });
  begin_tcp();
  const auto [key, whole] = record();
  const auto follows = [&, key = key, whole = whole](auto change) {
    grantd_flow flow = whole;
    change(flow);
    EXPECT_TRUE(table().put(key, flow).ok());
    const bool passes = passes_in(kTcp, tcp(80, port_, kAck));
    EXPECT_TRUE(table().put(key, whole).ok());
    return passes;
  };
  EXPECT_TRUE(follows([](grantd_flow&) {}));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.seal ^= 1; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.policy_id ^= 1; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.not_after_ns -= 1; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.peer_identity ^= 1; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.realm_epoch ^= 1; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.initiator ^= 3; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.guest_identity ^= 1; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.flags ^= GRANTD_FLOW_LIMITED_EGRESS; }));
  EXPECT_FALSE(follows([](grantd_flow& flow) { flow.flags ^= GRANTD_FLOW_LIMITED_INGRESS; }));
  EXPECT_TRUE(follows([](grantd_flow& flow) { flow.flags ^= GRANTD_FLOW_CLOSING; })) << "what changes is not sealed";
  EXPECT_TRUE(follows([](grantd_flow& flow) { flow.last_seen_ns += 1; }));
  restore(limits);
}

// A sum of the words, or one by numbers that anybody knows, has the same value for keys that a guest can reckon.
TEST_F(FlowRecord, NoTwoKeysOfAGuestsChoiceHaveOneSeal) {
  begin_tcp();
  const auto [key, flow] = record();
  std::set<std::uint64_t> seals = {flow.seal};
  std::size_t keys = 1;
  const auto other = [&, key = key, flow = flow](auto change) {
    grantd_flow_key changed = key;
    change(changed);
    seals.insert(seal(changed, flow));
    keys++;
  };
  for (std::size_t byte = 0; byte < 16; byte++)
    for (unsigned bit = 0; bit < 8; bit++)
      other([&](grantd_flow_key& changed) {
        changed.peer_address.bytes[byte] ^= static_cast<std::uint8_t>(1U << bit);
        changed.local_port ^= static_cast<std::uint16_t>(1U << bit);
      });
  for (unsigned bit = 0; bit < 16; bit++) {
    other([&](grantd_flow_key& changed) { changed.peer_port ^= static_cast<std::uint16_t>(1U << bit); });
    other([&](grantd_flow_key& changed) { changed.local_port ^= static_cast<std::uint16_t>(1U << bit); });
    other([&](grantd_flow_key& changed) {
      changed.local_port ^= static_cast<std::uint16_t>(1U << bit);
      changed.peer_port ^= static_cast<std::uint16_t>(1U << bit);
    });
  }
  for (const std::uint8_t protocol : {kUdp, kSctp, kIcmp4})
    other([&](grantd_flow_key& changed) { changed.protocol = protocol; });
  EXPECT_EQ(seals.size(), keys);
}

TEST_F(FlowRecord, ItsNumbersAreSecretAndKept) {
  const std::uint64_t secret = node().maps().seal.find(0).value()->secret;
  EXPECT_NE(secret, 0U);
  for (const std::uint64_t number : seal_numbers(secret)) EXPECT_EQ(number % 2, 1U);
  const PrivateNode another;
  EXPECT_NE(another.maps().seal.find(0).value()->secret, secret);
}

TEST_F(FlowRecord, SaysWhoBeganItUnderWhichPolicy) {
  const grantd_policy policy = *node().maps().policy.find(policy_id()).value();
  const auto now = boot_now();
  begin_tcp();
  auto [key, flow] = record();
  EXPECT_EQ(key.endpoint_id, endpoint_of("web").endpoint_id);
  EXPECT_EQ(key.peer_port, 80);
  EXPECT_EQ(key.echo_initiator, 0);
  EXPECT_EQ(key.pad, 0);
  EXPECT_EQ(flow.policy_id, policy_id());
  EXPECT_EQ(flow.not_after_ns, policy.not_after_ns);
  EXPECT_EQ(flow.realm_epoch, policy.realm_epoch);
  EXPECT_EQ(flow.guest_identity, policy.identity);
  EXPECT_EQ(flow.initiator, GRANTD_INITIATOR_GUEST);
  EXPECT_EQ(flow.peer_identity, GRANTD_IDENTITY_NOBODY);
  EXPECT_EQ(flow.flags, 0U);
  EXPECT_LE(flow.last_seen_ns - now, boot_now() - now);
  const auto from_peer = [&](std::uint8_t protocol, const Bytes& l4, std::uint8_t echo) {
    expect(to_guest(frame_in(kBob4, kWeb4, protocol, l4), "bob"), GRANTD_REASON_NEW_FLOW);
    const auto [its_key, its] = record();
    EXPECT_EQ(its.initiator, GRANTD_INITIATOR_PEER);
    EXPECT_EQ(its.peer_identity, identity_of("bob"));
    EXPECT_EQ(its_key.echo_initiator, echo);
  };
  port_ = fresh_port();
  from_peer(kTcp, tcp(80, port_, kSyn), 0);
  port_ = fresh_port();
  from_peer(kIcmp4, icmp(8, 0, port_), GRANTD_INITIATOR_PEER);
  port_ = fresh_port();
  expect(from_guest(out(kIcmp4, icmp(8, 0, port_))), GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(record().first.echo_initiator, GRANTD_INITIATOR_GUEST);
  EXPECT_EQ(record().first.peer_port, 0);
}

TEST_F(FlowRecord, SaysWhichDirectionsAreLimited) {
  const auto slow = node().maps().policy.find(policy_id("slow")).value()->limit[GRANTD_EGRESS];
  for (const std::uint32_t limited : {0U, 1U, 2U, 3U}) {
    const auto before = republish([&](grantd_policy& policy) {
      for (const grantd_direction direction : {GRANTD_EGRESS, GRANTD_INGRESS})
        if (limited & 1U << direction) policy.limit[direction] = slow;
    });
    port_ = fresh_port();
    begin_tcp();
    EXPECT_EQ(record().second.flags, limited << 1);
    change([](grantd_flow& flow) { flow.flags |= GRANTD_FLOW_CLOSING; });
    republish([](grantd_policy&) {});
    EXPECT_TRUE(ack_out());
    EXPECT_EQ(record().second.flags, limited << 1 | GRANTD_FLOW_CLOSING) << "judged again";
    restore(before);
  }
}

TEST_F(FlowRecord, WhenItWasSeenIsWrittenInSteps) {
  begin_tcp();
  const std::uint64_t seen = record().second.last_seen_ns;
  const auto seen_after = [&](std::uint64_t now_ns) {
    at(
        now_ns, [&] { change([&](grantd_flow& flow) { flow.last_seen_ns = seen; }); }, [&] { EXPECT_TRUE(ack_out()); });
    return record().second.last_seen_ns;
  };
  EXPECT_EQ(seen_after(seen - kSecond), seen) << "a clock that stands still is no step back";
  EXPECT_EQ(seen_after(seen + 1), seen);
  EXPECT_EQ(seen_after(seen + GRANTD_LAST_SEEN_STEP_NS), seen);
  EXPECT_EQ(seen_after(seen + GRANTD_LAST_SEEN_STEP_NS + 1), seen + GRANTD_LAST_SEEN_STEP_NS + 1);
}

TEST_F(FlowRecord, IsForgottenAfterItsIdleTimeToTheMoment) {
  struct Case {
    const char* name;
    std::uint8_t protocol;
    Bytes first, reply;
    std::uint32_t flags;
    std::uint64_t idle_ns;
  };
  const Case cases[] = {
      {"TCP", kTcp, tcp(port_, 80, kSyn), tcp(80, port_, kAck), 0, 24 * 3600 * kSecond},
      {"closing TCP", kTcp, tcp(port_, 80, kSyn), tcp(80, port_, kAck), GRANTD_FLOW_CLOSING, 120 * kSecond},
      {"UDP", kUdp, udp(port_, 53), udp(53, port_), 0, 180 * kSecond},
      {"SCTP", kSctp, sctp(port_, 80), sctp(80, port_, 2), 0, 3600 * kSecond},
      {"ICMP", kIcmp4, icmp(8, 0, port_), icmp(0, 0, port_), 0, 30 * kSecond},
  };
  for (const Case& each : cases) {
    const auto all = table().entries().value();
    for (const auto& [key, flow] : all) {
      EXPECT_TRUE(key.local_port != port_ || table().erase(key).ok());
    }
    expect(from_guest(out(each.protocol, each.first)), GRANTD_REASON_NEW_FLOW, each.name);
    const std::uint64_t seen = record().second.last_seen_ns;
    const auto follows_at = [&](std::uint64_t now_ns) {
      bool passes = false;
      at(
          now_ns,
          [&] {
            change([&](grantd_flow& flow) {
              flow.last_seen_ns = seen;
              flow.flags = each.flags;
            });
          },
          [&] { passes = passes_in(each.protocol, each.reply); });
      return passes;
    };
    EXPECT_TRUE(follows_at(seen - std::min(3600 * kSecond, seen / 2)))
        << each.name << ", of a CPU whose clock is behind";
    EXPECT_TRUE(follows_at(seen)) << each.name;
    EXPECT_TRUE(follows_at(seen + each.idle_ns)) << each.name;
    EXPECT_FALSE(follows_at(seen + each.idle_ns + 1)) << each.name;
  }
}

// Near its end a flow is held to the clock itself: the time that it was counted at says by which one it went.
TEST_F(FlowRecord, NearItsEndTheExactClockIsAsked) {
  const std::uint64_t ends = boot_now() + 1000 * kSecond;
  const auto before = republish([&](grantd_policy& policy) { policy.not_after_ns = ends; });
  begin_tcp();
  const auto counted_at = [&](std::uint64_t now_ns) {
    at(
        now_ns, [] {}, [&] { EXPECT_TRUE(ack_out()); });
    return counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED).last_seen_ns;
  };
  EXPECT_EQ(counted_at(ends - GRANTD_CLOCK_SLACK_NS - 1), ends - GRANTD_CLOCK_SLACK_NS - 1);
  EXPECT_NE(counted_at(ends - GRANTD_CLOCK_SLACK_NS), ends - GRANTD_CLOCK_SLACK_NS);
  restore(before);
}

// So it goes with what must be asked more.
TEST_F(FlowRecord, WhatFollowsIsAskedNothingMore) {
  std::uint64_t moment = boot_now() + 100 * kSecond;
  const auto at_once = [&](Hook hook, std::uint8_t flags, const std::string& identity = "bob") {
    const auto direction = hook == Hook::FromGuest ? GRANTD_EGRESS : GRANTD_INGRESS;
    Context context;
    if (hook == Hook::ToGuest) {
      context.ingress_ifindex = node().ifindex("uplink0");
      context.mark = identity.empty() ? 0 : stamp_of(identity);
    }
    const Bytes frame = hook == Hook::FromGuest ? frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, flags))
                                                : frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, flags));
    moment += kSecond;
    bool passes = false;
    at(
        moment, [] {}, [&] { passes = run(hook, frame, interface_of("web"), context).passes; });
    EXPECT_TRUE(passes);
    return counter(slot_of("bob"), direction, GRANTD_REASON_ESTABLISHED).last_seen_ns == moment;
  };
  begin_tcp();
  EXPECT_TRUE(at_once(Hook::FromGuest, kAck));
  EXPECT_TRUE(at_once(Hook::FromGuest, kSyn));
  EXPECT_TRUE(at_once(Hook::ToGuest, kAck, ""));
  EXPECT_TRUE(at_once(Hook::ToGuest, kAck, "carol"));
  EXPECT_FALSE(at_once(Hook::ToGuest, kSyn)) << "begins its own";
  EXPECT_TRUE(at_once(Hook::ToGuest, kAck));
  EXPECT_TRUE(at_once(Hook::ToGuest, kSyn));
  EXPECT_TRUE(at_once(Hook::FromGuest, kAck));
  EXPECT_FALSE(at_once(Hook::ToGuest, kAck, "alice")) << "another sender";
  EXPECT_TRUE(at_once(Hook::ToGuest, kAck, "alice"));
  change([](grantd_flow& flow) { flow.realm_epoch = 0; });
  EXPECT_FALSE(at_once(Hook::ToGuest, kAck, "alice")) << "in doubt";
  EXPECT_TRUE(at_once(Hook::FromGuest, kAck));
  const auto before = republish([](grantd_policy&) {});
  EXPECT_FALSE(at_once(Hook::FromGuest, kAck)) << "under another policy";
  EXPECT_TRUE(at_once(Hook::FromGuest, kAck));
  republish([&](grantd_policy& policy) {
    policy.limit[GRANTD_EGRESS] = node().maps().policy.find(policy_id("slow")).value()->limit[GRANTD_EGRESS];
  });
  EXPECT_FALSE(at_once(Hook::FromGuest, kAck)) << "under one that limits";
  EXPECT_TRUE(at_once(Hook::FromGuest, kAck)) << "what is limited follows too";
  EXPECT_TRUE(at_once(Hook::ToGuest, kAck, "alice"));
  restore(before);
}

TEST_F(FlowRecord, WhatItsInitiatorMayNoMoreIsTheReason) {
  begin_tcp();
  const auto before = republish([](grantd_policy& policy) { policy.rules_id = 0xffffffff; });
  for (const std::uint8_t flags : {kRst, std::uint8_t{kSyn | kAck}, std::uint8_t{0}})
    expect(to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, flags)), "bob"), GRANTD_REASON_DESTINATION,
           "what begins nothing");
  expect(to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kAck)), "bob"), GRANTD_REASON_NOT_A_PARTY,
         "what may begin is judged in its own right");
  restore(before);
}

TEST_F(FlowRecord, WhatBeginsItMustBeAllowedTo) {
  // By its initiator's side: a party's SYN on the guest's own flow begins another one in its place.
  begin_tcp();
  const auto in = [&](std::uint8_t flags, const char* identity) {
    return to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, flags)), identity);
  };
  expect(in(kSyn, "bob"), GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(record().second.initiator, GRANTD_INITIATOR_PEER);
  EXPECT_EQ(record().second.peer_identity, identity_of("bob"));
  expect(from_guest(out(kTcp, tcp(port_, 80, kSyn))), GRANTD_REASON_NEW_FLOW, "and back");
  EXPECT_EQ(record().second.initiator, GRANTD_INITIATOR_GUEST);
  EXPECT_EQ(record().second.peer_identity, GRANTD_IDENTITY_NOBODY);
}

TEST_F(FlowRecord, InDoubtItIsNotCurrentForTheGuest) {
  expect(to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kSyn)), "bob"), GRANTD_REASON_NEW_FLOW);
  EXPECT_TRUE(ack_out());
  change([](grantd_flow& flow) { flow.realm_epoch = 0; });
  EXPECT_FALSE(ack_out());
  // Somebody else's packet puts it in doubt; a dry run does not.
  expect(to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kAck)), "bob"), GRANTD_REASON_ESTABLISHED);
  Context nobody;
  nobody.ingress_ifindex = node().ifindex("uplink0");
  const Bytes others = frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kAck));
  EXPECT_EQ(explain(Hook::ToGuest, others, "web", nobody).reason, GRANTD_REASON_NOBODY);
  EXPECT_NE(record().second.realm_epoch, 0U);
  EXPECT_FALSE(run(Hook::ToGuest, others, interface_of("web"), nobody).passes);
  EXPECT_EQ(record().second.realm_epoch, 0U);
}

TEST_F(FlowRecord, ADryRunLeavesItAsItIs) {
  begin_tcp();
  change([](grantd_flow& flow) { flow.last_seen_ns -= 10 * kSecond; });
  const grantd_flow before = record().second;
  EXPECT_EQ(explain(Hook::FromGuest, out(kTcp, tcp(port_, 80, kFin | kAck)), "web").reason, GRANTD_REASON_ESTABLISHED);
  const grantd_flow after = record().second;
  EXPECT_EQ(std::memcmp(&before, &after, sizeof(before)), 0);
  port_ = fresh_port();
  EXPECT_EQ(explain(Hook::FromGuest, out(kTcp, tcp(port_, 80, kSyn)), "web").reason, GRANTD_REASON_NEW_FLOW);
  EXPECT_THROW(record(), std::runtime_error) << "nor begins one";
}

}  // namespace
}  // namespace grantd::prog
