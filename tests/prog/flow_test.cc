// Flows: who creates one, who may follow, what a change of policy, identity or realm does to it (rules 3, 4, 7).
#include "agent/node/clock.h"
#include "tests/prog/fixture.h"

#include <ctime>

namespace grantd::prog {
namespace {

class Flow : public Prog {
 protected:
  void SetUp() override { port_ = fresh_port(); }

  Sent out(std::uint8_t flags) { return from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, flags))); }
  Sent in(std::uint8_t flags, const std::string& identity = "bob") {
    return to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, flags)), identity);
  }
  // The same with the peer as the initiator, to the guest's port 8080.
  Sent peer_in(std::uint8_t flags, const std::string& identity = "bob") {
    return to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(port_, 8080, flags)), identity);
  }
  Sent reply_out(std::uint8_t flags) { return from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(8080, port_, flags))); }

  bool is_closing() {
    const auto table = node().maps().flow_table(slot_of("bob")).value().value();
    const auto entries = table.entries();
    for (const auto& [key, flow] : entries.value())
      if (key.local_port == port_) return (flow.flags & GRANTD_FLOW_CLOSING) != 0;
    ADD_FAILURE() << "no flow";
    return false;
  }

  std::uint16_t port_ = 0;
};

TEST_F(Flow, AHandshakeAndWhatFollows) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(in(kSyn | kAck), GRANTD_REASON_ESTABLISHED);
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
  expect(in(kPsh | kAck), GRANTD_REASON_ESTABLISHED);
  expect(in(kFin | kAck), GRANTD_REASON_ESTABLISHED);
  expect(out(kRst), GRANTD_REASON_ESTABLISHED);
}

// Without a flow: SYN begins one; a segment with ACK and neither SYN nor RST re-creates one that was lost,
// where the policy admits its sender as initiator; nothing else does.
TEST_F(Flow, All64FlagSetsWithoutAFlow) {
  for (std::uint8_t flags = 0; flags < 64; flags++) {
    port_ = fresh_port();
    const bool begins = (flags & (kSyn | kAck | kRst)) == kAck || (flags & (kSyn | kAck | kRst | kFin)) == kSyn;
    const std::string what = "flags " + std::to_string(flags);
    expect(out(flags), begins ? GRANTD_REASON_NEW_FLOW : GRANTD_REASON_NO_FLOW, what + " out");
    port_ = fresh_port();
    expect(in(flags), begins ? GRANTD_REASON_NEW_FLOW : GRANTD_REASON_NO_FLOW, what + " in, from a party");
    port_ = fresh_port();
    expect(in(flags, "carol"), begins ? GRANTD_REASON_NOT_A_PARTY : GRANTD_REASON_NO_FLOW, what + " in, from no party");
    port_ = fresh_port();
    const Sent elsewhere = from_guest(frame_out(kWeb4, kStranger4, kTcp, tcp(port_, 80, flags)));
    expect(elsewhere, begins ? GRANTD_REASON_DESTINATION_PORT : GRANTD_REASON_NO_FLOW, what + " to nowhere");
  }
}

TEST_F(Flow, All64FlagSetsWithAFlowOfTheGuest) {
  for (std::uint8_t flags = 0; flags < 64; flags++) {
    port_ = fresh_port();
    expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
    const std::string what = "flags " + std::to_string(flags);
    expect(out(flags), GRANTD_REASON_ESTABLISHED, what + " out");
    const bool syn = (flags & (kSyn | kAck | kRst | kFin)) == kSyn;
    // A SYN is judged as an initiator's, whatever flow there is: of a party it begins one, of others it drops.
    expect(in(flags, "carol"), syn ? GRANTD_REASON_NOT_A_PARTY : GRANTD_REASON_ESTABLISHED, what + " in");
  }
}

TEST_F(Flow, AReplyCreatesNothing) {
  expect(in(kSyn | kAck), GRANTD_REASON_NO_FLOW);
  expect(in(kSyn | kAck), GRANTD_REASON_NO_FLOW);
  expect(reply_out(kSyn | kAck), GRANTD_REASON_NO_FLOW);
}

TEST_F(Flow, SimultaneousOpenIsJudgedOnBothSides) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(in(kSyn, "bob"), GRANTD_REASON_NEW_FLOW);
  port_ = fresh_port();
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(in(kSyn, ""), GRANTD_REASON_NOBODY);
  expect(in(kSyn | kAck, ""), GRANTD_REASON_ESTABLISHED, "the guest's own flow goes on");
}

TEST_F(Flow, OfOneGuestIsNotAnothers) {
  const auto db_in = [&](std::uint8_t flags) {
    return to_guest(frame_in(kBob4, kDb4, kTcp, tcp(80, port_, flags)), "", "db");
  };
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(in(kSyn | kAck, ""), GRANTD_REASON_ESTABLISHED);
  expect(db_in(kSyn | kAck), GRANTD_REASON_NO_FLOW);
  expect(db_in(kAck), GRANTD_REASON_NOBODY);
}

TEST_F(Flow, UdpAndSctpAndEcho) {
  const auto udp_out = [&](const char* to) { return from_guest(frame_out(kWeb4, to, kUdp, udp(port_, 53))); };
  const auto udp_in = [&](const char* from, const char* identity) {
    return to_guest(frame_in(from, kWeb4, kUdp, udp(53, port_)), identity);
  };
  expect(udp_in(kBob4, ""), GRANTD_REASON_NOBODY);
  expect(udp_out(kBob4), GRANTD_REASON_NEW_FLOW);
  expect(udp_in(kBob4, ""), GRANTD_REASON_ESTABLISHED, "a reply needs no identity");
  expect(udp_in(kAlice4, ""), GRANTD_REASON_NOBODY, "from another address");

  const auto sctp_out = [&](std::uint8_t chunk) {
    return from_guest(frame_out(kWeb4, kBob4, kSctp, sctp(port_, 80, chunk)));
  };
  for (std::uint8_t chunk : Bytes{0, 2, 3, 10, 11}) expect(sctp_out(chunk), GRANTD_REASON_NO_FLOW);
  expect(sctp_out(1), GRANTD_REASON_NEW_FLOW);
  expect(sctp_out(10), GRANTD_REASON_ESTABLISHED);

  const auto echo_out = [&](std::uint8_t type) {
    return from_guest(frame_out(kWeb4, kBob4, kIcmp4, icmp(type, 0, port_)));
  };
  const auto echo_in = [&](std::uint8_t type, const char* identity) {
    return to_guest(frame_in(kBob4, kWeb4, kIcmp4, icmp(type, 0, port_)), identity);
  };
  expect(echo_in(0, ""), GRANTD_REASON_NO_FLOW, "a reply to nothing");
  expect(echo_out(8), GRANTD_REASON_NEW_FLOW);
  expect(echo_in(0, ""), GRANTD_REASON_ESTABLISHED);
  expect(echo_in(8, ""), GRANTD_REASON_NOBODY, "a request is no reply, whatever its id");
  expect(echo_out(0), GRANTD_REASON_NO_FLOW, "nor the other way");
  for (std::uint8_t type : Bytes{13, 15, 17, 9, 10, 40}) expect(echo_out(type), GRANTD_REASON_ICMP_TYPE);
}

TEST_F(Flow, AChangeOfPolicyJudgesItAgainInBothDirections) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  const auto before = republish([](grantd_policy&) {});
  expect(in(kAck, ""), GRANTD_REASON_ESTABLISHED, "judged again by its initiator, and still admitted");
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
  republish([](grantd_policy& policy) { policy.rules_id = 0xffffffff; });
  expect(in(kAck, ""), GRANTD_REASON_NOBODY, "not under rules that name nothing");
  expect(out(kAck), GRANTD_REASON_DESTINATION);
  expect(out(kRst), GRANTD_REASON_DESTINATION);
  restore(before);
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Flow, ExpiryAndRevocationStopItWithTheNextPacket) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(peer_in(kSyn), GRANTD_REASON_NEW_FLOW);
  const auto before = republish([](grantd_policy& policy) {
    policy.not_after_ns = 1;
    policy.end_reason = GRANTD_REASON_REVOKED;
  });
  expect(out(kAck), GRANTD_REASON_REVOKED);
  expect(in(kAck), GRANTD_REASON_REVOKED);
  expect(peer_in(kAck), GRANTD_REASON_REVOKED);
  expect(reply_out(kAck), GRANTD_REASON_REVOKED);
  republish([](grantd_policy& policy) { policy.end_reason = GRANTD_REASON_EXPIRED; });
  expect(out(kAck), GRANTD_REASON_EXPIRED);
  restore(before);
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
}

// Packets of an established flow look at the clock of the last tick; the end is exact all the same.
TEST_F(Flow, EndsWithItsPolicyToTheMoment) {
  const auto ends = boot_now() + 200'000'000;
  const auto before = republish([&](grantd_policy& policy) { policy.not_after_ns = ends; });
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  const Bytes frame = frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kAck));
  for (std::uint64_t sent_at = 0; sent_at < ends;) {
    sent_at = boot_now();
    const bool passes = run(Hook::FromGuest, frame, interface_of("web"), {}).passes;
    if (boot_now() < ends) {
      ASSERT_TRUE(passes) << ends - sent_at << " ns before the end";
    } else if (sent_at >= ends) {
      EXPECT_FALSE(passes) << sent_at - ends << " ns after the end";
    }
  }
  restore(before);
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Flow, CarriesItsStampAndNoGroupFrames) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  const Sent sent = out(kAck);
  expect(sent, GRANTD_REASON_ESTABLISHED);
  EXPECT_EQ(sent.mark, stamp_of("ns/bob"));
  const auto to_mac = [&](const char* destination) {
    return from_guest(ethernet(destination, kGuestMac, 0x0800, ipv4({kWeb4, kBob4}, tcp(port_, 80, kAck))));
  };
  expect(to_mac("ff:ff:ff:ff:ff:ff"), GRANTD_REASON_BROADCAST);
  expect(to_mac("01:00:5e:00:00:05"), GRANTD_REASON_MULTICAST);
  expect(to_mac(kFarMac), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Flow, PaysInTheDirectionThatIsLimited) {
  const auto slow = node().maps().grant.find(slot_of("slow")).value()->policy_id;
  const grantd_limit limit = node().maps().policy.find(slow).value()->limit[GRANTD_INGRESS];
  const auto before = republish([&](grantd_policy& policy) { policy.limit[GRANTD_INGRESS] = limit; });
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  const auto passed = [&](Hook hook, const Bytes& frame, const Context& context) {
    std::size_t bytes = 0;
    for (int i = 0; i < 200; i++) bytes += run(hook, frame, interface_of("web"), context).passes ? frame.size() : 0;
    return bytes;
  };
  Context from_bob;
  from_bob.mark = stamp_of("bob");
  from_bob.ingress_ifindex = 1;
  const std::size_t all = 200 * (14 + 20 + 20 + 1400);
  EXPECT_LT(passed(Hook::ToGuest, frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kAck, 1400)), from_bob), all * 9 / 10);
  EXPECT_EQ(passed(Hook::FromGuest, frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kAck, 1400)), {}), all);
  restore(before);
}

TEST_F(Flow, AFinClosesWhatItRecreatesAndWhatIsJudgedAgain) {
  expect(out(kFin | kAck), GRANTD_REASON_NEW_FLOW, "of a flow that was lost");
  EXPECT_TRUE(is_closing());
  port_ = fresh_port();
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  const auto before = republish([](grantd_policy&) {});
  expect(out(kFin | kAck), GRANTD_REASON_ESTABLISHED);
  EXPECT_TRUE(is_closing());
  restore(before);
  expect(out(kSyn), GRANTD_REASON_ESTABLISHED);
  EXPECT_FALSE(is_closing());
}

TEST_F(Flow, AClosingOneThatIsJudgedAgainStaysClosing) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(out(kFin | kAck), GRANTD_REASON_ESTABLISHED);
  const auto before = republish([](grantd_policy&) {});
  expect(in(kAck), GRANTD_REASON_ESTABLISHED);
  EXPECT_TRUE(is_closing());
  restore(before);
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
  EXPECT_TRUE(is_closing());
}

TEST_F(Flow, ASynOnAClosingOneOpensItAgain) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  EXPECT_FALSE(is_closing());
  expect(out(kFin | kAck), GRANTD_REASON_ESTABLISHED);
  EXPECT_TRUE(is_closing());
  expect(out(kSyn), GRANTD_REASON_ESTABLISHED);
  EXPECT_FALSE(is_closing());
}

TEST_F(Flow, OfThePeerWantsItsIdentityAgain) {
  expect(peer_in(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(reply_out(kSyn | kAck), GRANTD_REASON_ESTABLISHED);
  expect(peer_in(kAck, ""), GRANTD_REASON_NOBODY, "a NAT port that somebody else has now");
  expect(peer_in(kAck, "carol"), GRANTD_REASON_NOT_A_PARTY);
  expect(reply_out(kAck), GRANTD_REASON_AWAITING_PEER, "and it gets no replies");
  expect(peer_in(kAck, "bob"), GRANTD_REASON_ESTABLISHED, "the rightful peer");
  expect(reply_out(kAck), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Flow, AnotherPartyOnTheSamePortBeginsItsOwn) {
  expect(peer_in(kSyn, "bob"), GRANTD_REASON_NEW_FLOW);
  expect(peer_in(kAck, "alice"), GRANTD_REASON_NEW_FLOW);
  expect(reply_out(kAck), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Flow, AfterARealmLostAddressesRepliesWaitForThePeer) {
  expect(peer_in(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  const auto before = republish([](grantd_policy& policy) { policy.realm_epoch++; });
  expect(reply_out(kAck), GRANTD_REASON_AWAITING_PEER);
  expect(out(kAck), GRANTD_REASON_ESTABLISHED, "the guest's own flow is judged by address");
  expect(peer_in(kAck, ""), GRANTD_REASON_NOBODY);
  expect(reply_out(kAck), GRANTD_REASON_AWAITING_PEER);
  expect(peer_in(kAck), GRANTD_REASON_ESTABLISHED);
  expect(reply_out(kAck), GRANTD_REASON_ESTABLISHED);
  restore(before);
}

TEST_F(Flow, FinAndResetChangeNoVerdict) {
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  expect(in(kRst, ""), GRANTD_REASON_ESTABLISHED, "forged or not");
  expect(out(kAck), GRANTD_REASON_ESTABLISHED);
  expect(in(kFin, ""), GRANTD_REASON_ESTABLISHED);
  expect(in(kAck, ""), GRANTD_REASON_ESTABLISHED);
}

// Idle flows are forgotten: told by setting the clock of a flow back, which only a test does.
TEST_F(Flow, AnIdleOneIsForgotten) {
  timespec up{};
  ASSERT_EQ(clock_gettime(CLOCK_BOOTTIME, &up), 0);
  // A flow cannot be older than the machine.
  if (up.tv_sec < static_cast<time_t>(GRANTD_IDLE_UDP_NS / GRANTD_NS_PER_SECOND) + 10)
    GTEST_SKIP() << "this machine runs for " << up.tv_sec << " s only";
  const auto table = node().maps().flow_table(slot_of("bob"));
  ASSERT_TRUE(table.ok() && table.value());
  const auto age = [&](std::uint64_t nanoseconds) {
    const auto entries = table.value()->entries();
    for (const auto& [key, flow] : entries.value()) {
      if (key.local_port != port_) continue;
      grantd_flow older = flow;
      older.last_seen_ns -= nanoseconds;
      ASSERT_TRUE(table.value()->put(key, older).ok());
    }
  };
  const auto udp_out = [&] { return from_guest(frame_out(kWeb4, kBob4, kUdp, udp(port_, 53))); };
  const auto udp_in = [&] { return to_guest(frame_in(kBob4, kWeb4, kUdp, udp(53, port_)), ""); };
  expect(udp_out(), GRANTD_REASON_NEW_FLOW);
  age(GRANTD_IDLE_UDP_NS - 5 * GRANTD_NS_PER_SECOND);
  expect(udp_in(), GRANTD_REASON_ESTABLISHED, "almost too old");
  age(GRANTD_IDLE_UDP_NS + GRANTD_NS_PER_SECOND);
  expect(udp_in(), GRANTD_REASON_NOBODY, "too old");
  port_ = fresh_port();
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  age(GRANTD_IDLE_TCP_CLOSING_NS + GRANTD_NS_PER_SECOND);
  expect(in(kAck, ""), GRANTD_REASON_ESTABLISHED);
  expect(in(kFin | kAck, ""), GRANTD_REASON_ESTABLISHED);
  age(GRANTD_IDLE_TCP_CLOSING_NS + GRANTD_NS_PER_SECOND);
  expect(in(kAck, ""), GRANTD_REASON_NOBODY, "after a FIN the idle time is short");
}

TEST_F(Flow, AFloodEvictsOnlyItsOwnGrantsFlows) {
  const Bytes neighbour = frame_out("10.20.0.7", kCarol4, kTcp, tcp(port_, 80, kSyn));
  expect(from_guest(neighbour, "far"), GRANTD_REASON_NEW_FLOW);
  expect(out(kSyn), GRANTD_REASON_NEW_FLOW);
  for (std::uint32_t number = 0; number < 4000; number++) {
    const auto port = static_cast<std::uint16_t>(40000 + number % 20000);
    EXPECT_TRUE(run(Hook::FromGuest, frame_out(kWeb4, kBob4, kUdp, udp(port, 9)), interface_of("web"), {}).passes)
        << "a full table takes new flows, and forgets old ones";
  }
  expect(from_guest(neighbour, "far"), GRANTD_REASON_ESTABLISHED);
}

TEST_F(Flow, TheStampIsTheGuestsGrantWhateverItSetItself) {
  Context forged;
  forged.mark = stamp_of("bob") | 0x00a00000;
  const Sent sent = from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn)), "web", forged);
  EXPECT_EQ(sent.mark, stamp_of("ns/bob") | 0x00a00000) << "the bits of others stay";
}

}  // namespace
}  // namespace grantd::prog
