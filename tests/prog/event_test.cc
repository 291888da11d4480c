// What is left behind of a packet: its counter, now and then an event, and what a dry run explains.
#include "agent/node/clock.h"
#include "tests/prog/fixture.h"

#include <bpf/libbpf.h>
#include <linux/if_ether.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>
#include <vector>

namespace grantd::prog {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;

class Event : public Prog {
 protected:
  void SetUp() override {
    port_ = fresh_port();
    ring_.reset(ring_buffer__new(node().maps().event.get(), take, &events_, nullptr));
    ASSERT_TRUE(ring_);
    events();  // of the tests before
    if (moment_ == 0) moment_ = boot_now();
  }
  // Told since the last call.
  std::vector<grantd_event> events() {
    events_.clear();
    EXPECT_GE(ring_buffer__consume(ring_.get()), 0);
    return events_;
  }
  // The one event of this frame, sent when nothing was told of its kind for long.
  grantd_event event_of(Hook hook, const Bytes& frame, const Context& context = {}) {
    std::vector<grantd_event> told;
    // Where a tick comes in between, it may have been told already.
    for (int attempt = 0; attempt < 1000; attempt++) {
      const bool stood = try_at(moment_ += 3600 * kSecond, [&] {
        events();
        run(hook, frame, interface_of("web"), context);
        told = events();
      });
      if (stood) break;
    }
    EXPECT_EQ(told.size(), 1U);
    return told.empty() ? grantd_event{} : told[0];
  }
  static std::string text_of_address(const grantd_address& address) {
    return std::string(reinterpret_cast<const char*>(address.bytes), 16);
  }
  static std::string mapped(const char* text) {
    const Bytes bytes =
        std::string(text).find(':') == std::string::npos ? address(std::string("::ffff:") + text) : address(text);
    return std::string(bytes.begin(), bytes.end());
  }

  std::uint16_t port_ = 0;
  static inline std::uint64_t moment_ = 0;  // later than whatever was told of before

 private:
  static int take(void* into, void* data, std::size_t bytes) {
    grantd_event event{};
    EXPECT_EQ(bytes, sizeof(event));
    std::memcpy(&event, data, std::min(bytes, sizeof(event)));
    static_cast<std::vector<grantd_event>*>(into)->push_back(event);
    return 0;
  }
  struct Free {
    void operator()(ring_buffer* ring) const { ring_buffer__free(ring); }
  };
  std::unique_ptr<ring_buffer, Free> ring_;
  std::vector<grantd_event> events_;
};

TEST_F(Event, OfAFrameThatWasNotUnderstoodSaysWhatIsKnown) {
  Bytes frame = frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn));
  frame[12] = 0x88;
  frame[13] = 0xcc;
  const auto before = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ETHERTYPE).packets;
  const grantd_event event = event_of(Hook::FromGuest, frame);
  EXPECT_EQ(event.time_ns, moment_);
  EXPECT_GT(event.packets, 0U);
  EXPECT_LE(event.packets, before + 100);  // sent again where a tick came in between
  EXPECT_EQ(event.policy_id, 0U);
  EXPECT_EQ(event.slot, slot_of("bob"));
  EXPECT_EQ(event.endpoint_id, endpoint_of("web").endpoint_id);
  EXPECT_EQ(event.ifindex, interface_of("web"));
  EXPECT_EQ(event.identity, 0U);
  EXPECT_EQ(event.wire_bytes, frame.size());
  EXPECT_EQ(event.reason, GRANTD_REASON_ETHERTYPE);
  EXPECT_EQ(event.direction, GRANTD_EGRESS);
  EXPECT_EQ(event.protocol, 0);
  EXPECT_EQ(event.ethertype, 0x88cc);
  EXPECT_EQ(event.pad, 0);
}

TEST_F(Event, OfAPacketSaysWhoAndWhat) {
  // From the flow that is there: packets of one go by the tick's clock, which tells when it is due.
  const Bytes out = frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kFin | kRst));
  const auto no_flow = [&](Hook hook, const Bytes& frame, const Context& context) {
    events();
    const auto direction = hook == Hook::FromGuest ? GRANTD_EGRESS : GRANTD_INGRESS;
    // One event in 100 ms: asked until this one is told.
    for (const BootNanoseconds begin = boot_now(); boot_now() - begin < 30 * kSecond;) {
      EXPECT_FALSE(run(hook, frame, interface_of("web"), context).passes);
      const auto told = events();
      if (told.empty()) continue;
      EXPECT_EQ(told.size(), 1U);
      EXPECT_EQ(told[0].direction, direction);
      EXPECT_LE(told[0].packets, counter(slot_of("bob"), direction, GRANTD_REASON_NO_FLOW).packets);
      EXPECT_LE(boot_now() - told[0].time_ns, 30 * kSecond);
      return told[0];
    }
    ADD_FAILURE() << "no event";
    return grantd_event{};
  };
  const grantd_event sent = no_flow(Hook::FromGuest, out, {});
  EXPECT_EQ(sent.policy_id, policy_id());
  EXPECT_EQ(sent.reason, GRANTD_REASON_NO_FLOW);
  EXPECT_EQ(sent.protocol, kTcp);
  EXPECT_EQ(sent.tcp_flags, kFin | kRst);
  EXPECT_EQ(sent.ethertype, ETH_P_IP);
  EXPECT_EQ(sent.source_port, port_);
  EXPECT_EQ(sent.destination_port, 80);
  EXPECT_EQ(text_of_address(sent.source), mapped(kWeb4));
  EXPECT_EQ(text_of_address(sent.destination), mapped(kBob4));
  EXPECT_EQ(sent.identity, 0U);

  Context from_bob;
  from_bob.mark = stamp_of("bob");
  from_bob.ingress_ifindex = node().ifindex("uplink0");
  const grantd_event received = no_flow(Hook::ToGuest, frame_in(kBob6, kWeb6, kTcp, tcp(81, port_, kRst)), from_bob);
  EXPECT_EQ(received.identity, identity_of("bob"));
  EXPECT_EQ(received.ethertype, ETH_P_IPV6);
  EXPECT_EQ(received.source_port, 81);
  EXPECT_EQ(received.destination_port, port_);
  EXPECT_EQ(text_of_address(received.source), mapped(kBob6));
  EXPECT_EQ(text_of_address(received.destination), mapped(kWeb6));
}

TEST_F(Event, OfNewFlowsAndOfDropsOnly) {
  // For 300 ms, or until the first one is told.
  const auto told = [&](std::uint8_t flags, std::uint64_t until_ns) {
    std::size_t count = 0;
    for (const BootNanoseconds begin = boot_now(); boot_now() - begin < until_ns && !count;) {
      if (flags == kSyn) port_ = fresh_port();
      run(Hook::FromGuest, frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, flags)), interface_of("web"), {}, 50);
      count += events().size();
    }
    return count;
  };
  EXPECT_GE(told(kSyn, 30 * kSecond), 1U);
  EXPECT_EQ(told(kAck, 300'000'000), 0U);
}

TEST_F(Event, IsToldAtMostOnceInAnInterval) {
  Bytes frame = frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn));
  frame[12] = 0x88;
  frame[13] = 0xcd;
  const auto slot = slot_of("bob");
  std::size_t told = 0;
  const auto told_at = [&](std::uint64_t now_ns) {
    at(
        now_ns, [] {},
        [&] {
          events();
          run(Hook::FromGuest, frame, interface_of("web"), {}, 3);
          told = events().size();
        });
    return counter(slot, GRANTD_EGRESS, GRANTD_REASON_ETHERTYPE);
  };
  // The event itself may have been told in an attempt that a tick spoilt; when it was told, stands.
  const std::uint64_t last = moment_ += 3600 * kSecond;
  EXPECT_EQ(told_at(last).last_event_ns, last);
  const grantd_counter before = told_at(last + GRANTD_EVENT_INTERVAL_NS - 1);
  EXPECT_EQ(before.last_event_ns, last);
  EXPECT_EQ(before.last_seen_ns, last + GRANTD_EVENT_INTERVAL_NS - 1);
  EXPECT_EQ(told, 0U);
  EXPECT_EQ(told_at(last + GRANTD_EVENT_INTERVAL_NS).last_event_ns, last + GRANTD_EVENT_INTERVAL_NS);
}

TEST_F(Event, WhatCannotBeCountedWhereItBelongsIsCountedAtNobodys) {
  const auto slot = slot_of("bob");
  const Bytes passing = frame_out(kWeb4, kBob4, kUdp, udp(port_, 53)),
              dropping = frame_out(kWeb4, kStranger4, kUdp, udp(port_, 53));
  const auto total = [&](grantd_reason reason) { return counter(0, GRANTD_EGRESS, reason).packets; };
  ASSERT_TRUE(node().maps().counter.erase(slot).ok());
  const auto missing = total(GRANTD_REASON_TABLE_MISSING), port = total(GRANTD_REASON_DESTINATION_PORT);
  EXPECT_FALSE(run(Hook::FromGuest, passing, interface_of("web"), {}).passes);
  EXPECT_EQ(total(GRANTD_REASON_TABLE_MISSING), missing + 1);
  EXPECT_FALSE(run(Hook::FromGuest, dropping, interface_of("web"), {}).passes);
  EXPECT_EQ(total(GRANTD_REASON_DESTINATION_PORT), port + 1) << "under its own reason";
  ASSERT_TRUE(node().datapath().make_tables({slot}, 1024).ok());
  EXPECT_TRUE(run(Hook::FromGuest, passing, interface_of("web"), {}).passes);
}

TEST_F(Event, ARecordThatIsBeingReplacedIsCountedAsNone) {
  const grantd_endpoint web = endpoint_of("web");
  grantd_endpoint torn = web;
  torn.version_again++;
  put_endpoint(torn);
  const Bytes frame = frame_out(kWeb4, kBob4, kUdp, udp(port_, 53));
  const auto before = counter(web.slot, GRANTD_EGRESS, GRANTD_REASON_NO_ENDPOINT).packets;
  EXPECT_FALSE(run(Hook::FromGuest, frame, web.ifindex, {}).passes);
  EXPECT_EQ(counter(web.slot, GRANTD_EGRESS, GRANTD_REASON_NO_ENDPOINT).packets, before + 1);
  put_endpoint(web);
  EXPECT_TRUE(run(Hook::FromGuest, frame, web.ifindex, {}).passes);
}

// ---- what a dry run explains ----

TEST_F(Event, AnExplanationSaysWhatDecided) {
  const grantd_policy policy = *node().maps().policy.find(policy_id()).value();
  const auto out = [&](const char* to, std::uint16_t port) {
    const bool six = std::string(to).find(':') != std::string::npos;
    return explain(Hook::FromGuest, frame_out(six ? kWeb6 : kWeb4, to, kTcp, tcp(port_, port, kSyn)), "web");
  };
  const grantd_explanation open = out(kOpen4, 443);
  EXPECT_EQ(open.policy_id, policy_id());
  EXPECT_EQ(open.reason, GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(open.slot, slot_of("bob"));
  EXPECT_EQ(open.endpoint_id, endpoint_of("web").endpoint_id);
  EXPECT_EQ(open.identity, 0U);
  EXPECT_EQ(open.rules_id, policy.rules_id);
  EXPECT_NE(open.source, 0U) << "an entry of the manifest";
  EXPECT_EQ(open.by_identity, 0);
  EXPECT_EQ(open.concluded, 1);

  const grantd_explanation realm = out(kCarol4, 8443);
  EXPECT_EQ(realm.reason, GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(realm.identity, identity_of("carol"));
  EXPECT_EQ(realm.by_identity, 1);
  EXPECT_NE(realm.source, 0U);
  EXPECT_NE(realm.source, open.source);

  const grantd_explanation refused = out(kCarol6, 8444);
  EXPECT_EQ(refused.reason, GRANTD_REASON_DESTINATION_PORT);
  EXPECT_EQ(refused.identity, identity_of("carol"));
  EXPECT_EQ(refused.by_identity, 0);
  EXPECT_EQ(refused.source, 0U);

  // Of a flow that is there: who its peer is.
  Context bob;
  bob.mark = stamp_of("bob");
  bob.ingress_ifindex = node().ifindex("uplink0");
  const Bytes syn = frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kSyn));
  const grantd_explanation begins = explain(Hook::ToGuest, syn, "web", bob);
  EXPECT_EQ(begins.reason, GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(begins.identity, identity_of("bob"));
  EXPECT_EQ(begins.by_identity, 1);
  ASSERT_TRUE(run(Hook::ToGuest, syn, interface_of("web"), bob).passes);
  const Bytes ack = frame_in(kBob4, kWeb4, kTcp, tcp(80, port_, kAck));
  const grantd_explanation follows = explain(Hook::ToGuest, ack, "web", bob);
  EXPECT_EQ(follows.reason, GRANTD_REASON_ESTABLISHED);
  EXPECT_EQ(follows.identity, identity_of("bob"));
  EXPECT_EQ(follows.by_identity, 0);

  // Before there is a policy there are no rules either.
  const grantd_explanation early = explain(Hook::FromGuest, frame_out(kDb4, kBob4, kTcp, tcp(port_, 80, kSyn)), "web");
  EXPECT_EQ(early.reason, GRANTD_REASON_SOURCE_ADDRESS);
  EXPECT_EQ(early.policy_id, 0U);
  EXPECT_EQ(early.rules_id, 0U);
}

TEST_F(Event, AnExplanationIsAllThatADryRunLeaves) {
  const auto slot = slot_of("bob");
  const auto before = node().maps().counters(slot).value();
  EXPECT_EQ(explain(Hook::FromGuest, frame_out(kWeb4, kStranger4, kTcp, tcp(port_, 80, kSyn)), "web").reason,
            GRANTD_REASON_DESTINATION_PORT);
  const auto after = node().maps().counters(slot).value();
  for (std::size_t at = 0; at < before.size(); at++) EXPECT_EQ(after[at].packets, before[at].packets) << at;
  EXPECT_TRUE(events().empty());
}

TEST_F(Event, ADryRunSetsNoClock) {
  const auto clocks = [] {
    std::vector<grantd_clock> all(static_cast<std::size_t>(libbpf_num_possible_cpus()));
    const std::uint32_t only = 0;
    EXPECT_TRUE(node().maps().clock.raw().lookup(&only, all.data()).ok());
    std::vector<std::uint64_t> times;
    for (const grantd_clock& each : all) times.insert(times.end(), {each.now_ns, each.tick});
    return times;
  };
  bool stood = false;
  for (int attempt = 0; attempt < 5 && !stood; attempt++) {      // a packet of the links' own may come between
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // ticks
    const auto before = clocks();
    explain(Hook::FromGuest, frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn)), "web");
    stood = clocks() == before;
  }
  EXPECT_TRUE(stood);
  const auto before = clocks();
  run(Hook::FromGuest, frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn)), interface_of("web"), {});
  EXPECT_NE(clocks(), before) << "the control";
}

}  // namespace
}  // namespace grantd::prog
