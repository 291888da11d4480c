// Packets of a limited Grant that wait in a queue: which do, what goes with them, and what becomes of those that come
// back (rule 12, decision 42). Redirects themselves are tests/netns's: BPF_PROG_TEST_RUN carries out none.
#include "agent/node/clock.h"
#include "agent/snapshot/snapshot.h"
#include "tests/prog/fixture.h"

#include <linux/pkt_cls.h>

#include <algorithm>
#include <iterator>
#include <numeric>

namespace grantd::prog {
namespace {

constexpr const char* kSlow4 = "10.20.0.8";
constexpr std::uint32_t kSecret = 0x5ec2e7a1, kPriority = 0x70;
constexpr std::uint32_t kClass[] = {0x10005, 0x10006};  // of the guest, by direction
enum { kCbSecret, kCbIfindex, kCbSince, kCbWhat, kCbPriority };
constexpr std::uint32_t kWithoutSocket = 2;

std::uint32_t now_us() { return static_cast<std::uint32_t>(boot_now() / 1000); }

class Queue : public Prog {
 protected:
  void SetUp() override {
    slow_ = endpoint_of("slow");
    slot_ = slow_.slot;
    shaper_ = *node().maps().shaper.find(0).value();
    grantd_shaper queues = shaper_;
    queues.mode = GRANTD_SHAPER_HTB;
    queues.queue_ifindex = node().ifindex("tail0");
    queues.release_ifindex = node().ifindex("uplink0");
    queues.secret = kSecret;
    put_shaper(queues);
    put_queue({{kClass[GRANTD_EGRESS], kClass[GRANTD_INGRESS]}});
    ASSERT_TRUE(node().maps().device.put(slow_.ifindex, slow_.ifindex).ok());
    static std::uint64_t epoch = 9'000'000;  // buckets start full, and delays at none
    republish([](grantd_policy& policy) { policy.grant_epoch = epoch++; }, "slow");
    port_ = fresh_port();
  }
  void TearDown() override {
    put_shaper(shaper_);
    ASSERT_TRUE(node().maps().queue.erase(slow_.endpoint_id).ok());
    ASSERT_TRUE(node().maps().device.erase(slow_.ifindex).ok());
    put_endpoint(slow_);
  }
  void put_shaper(const grantd_shaper& shaper) { ASSERT_TRUE(node().maps().shaper.put(0, shaper).ok()); }
  void put_queue(const grantd_queue& queue) { ASSERT_TRUE(node().maps().queue.put(slow_.endpoint_id, queue).ok()); }

  Bytes datagram(grantd_direction direction, std::size_t payload = 100) {
    return direction == GRANTD_EGRESS ? frame_out(kSlow4, kBob4, kUdp, udp(port_, 9, payload))
                                      : frame_in(kBob4, kSlow4, kUdp, udp(9, port_, payload));
  }
  static Hook hook_of(grantd_direction direction) {
    return direction == GRANTD_EGRESS ? Hook::FromGuest : Hook::ToGuest;
  }
  // As it comes first: what is sent to the guest from bob, by another way than the one out of the queue.
  __sk_buff first(grantd_direction direction) {
    __sk_buff context{};
    context.ifindex = slow_.ifindex;
    context.priority = kPriority;
    if (direction == GRANTD_INGRESS) {
      context.ingress_ifindex = node().ifindex("tail0");
      context.mark = stamp_of("bob");
    }
    return context;
  }
  // As it comes back, after `waited_us`.
  __sk_buff back(grantd_direction direction, std::uint32_t waited_us = 0,
                 grantd_reason reason = GRANTD_REASON_ESTABLISHED, std::uint32_t identity = 0) {
    __sk_buff context = first(direction);
    if (direction == GRANTD_INGRESS) context.ingress_ifindex = node().ifindex("uplink0");
    context.cb[kCbSecret] = kSecret;
    context.cb[kCbIfindex] = slow_.ifindex;
    context.cb[kCbSince] = now_us() - waited_us;
    context.cb[kCbWhat] = direction | static_cast<std::uint32_t>(reason) << 8 | identity << 16;
    return context;
  }
  Answer send(grantd_direction direction, const __sk_buff& context, std::size_t payload = 100) {
    return ask(hook_of(direction), datagram(direction, payload), context);
  }
  grantd_usage usage(grantd_direction direction) {
    return node().maps().usage.find({slow_.endpoint_id, direction}).value().value_or(grantd_usage{});
  }
  grantd_delay delay(grantd_direction direction) {
    return *node().maps().delay.find(GRANTD_BUCKET_INDEX(slot_, direction)).value();
  }
  std::uint64_t counted(grantd_direction direction, grantd_reason reason) {
    return counter(slot_, direction, reason).packets;
  }
  // What a packet to a guest of this slot is counted as.
  std::string counted_as(const Bytes& frame, const __sk_buff& context, std::uint32_t slot) {
    const auto all = [&] { return node().maps().counters(slot).value(); };
    const auto before = all();
    ask(Hook::ToGuest, frame, context);
    const auto after = all();
    for (int reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
      const std::size_t index = GRANTD_COUNTER_INDEX(GRANTD_INGRESS, reason);
      if (after[index].packets != before[index].packets) return reason_label(static_cast<grantd_reason>(reason));
    }
    return "none";
  }

  grantd_endpoint slow_{};
  grantd_shaper shaper_{};
  std::uint32_t slot_ = 0;
  std::uint16_t port_ = 0;
};

constexpr grantd_direction kBoth[] = {GRANTD_EGRESS, GRANTD_INGRESS};

TEST_F(Queue, WhatWaitsCarriesWhatMustComeBack) {
  for (const grantd_direction direction : kBoth) {
    port_ = fresh_port();
    for (const grantd_reason reason : {GRANTD_REASON_NEW_FLOW, GRANTD_REASON_ESTABLISHED}) {
      const auto before = usage(direction);
      const auto passed = counted(direction, reason);
      const std::uint32_t since = now_us();
      const Answer answer = send(direction, first(direction));
      const __sk_buff& left = answer.context;
      EXPECT_EQ(answer.verdict, TC_ACT_REDIRECT);
      EXPECT_EQ(left.priority, kClass[direction]);
      EXPECT_EQ(left.cb[kCbSecret], kSecret);
      EXPECT_EQ(left.cb[kCbIfindex], slow_.ifindex);
      EXPECT_LE(left.cb[kCbSince] - since, now_us() - since);
      EXPECT_EQ(left.cb[kCbWhat], direction | static_cast<std::uint32_t>(reason) << 8 |
                                      (direction == GRANTD_INGRESS ? identity_of("bob") << 16 : 0));
      EXPECT_EQ(left.cb[kCbPriority], kPriority);
      const auto after = usage(direction);
      EXPECT_EQ(after.queued_packets - before.queued_packets, 1U);
      EXPECT_EQ(after.queued_bytes - before.queued_bytes, datagram(direction).size());
      EXPECT_EQ(after.allowed_packets, before.allowed_packets) << "it pays when it comes back";
      EXPECT_EQ(counted(direction, reason), passed) << "and is counted then";
    }
  }
}

TEST_F(Queue, SegmentsAreCountedEach) {
  __sk_buff offload = first(GRANTD_EGRESS);
  const Bytes frame = frame_out(kSlow4, kBob4, kTcp, tcp(port_, 80, kAck, 1000));
  offload.gso_size = 100;
  offload.gso_segs = 10;
  const auto before = usage(GRANTD_EGRESS);
  ASSERT_EQ(ask(Hook::FromGuest, frame, offload).verdict, TC_ACT_REDIRECT);
  const auto waits = usage(GRANTD_EGRESS);
  EXPECT_EQ(waits.queued_packets - before.queued_packets, 10U);
  EXPECT_EQ(waits.queued_bytes - before.queued_bytes, frame.size() + 9 * 54);
  __sk_buff returned = back(GRANTD_EGRESS);
  returned.gso_size = 100;
  returned.gso_segs = 10;
  ASSERT_EQ(ask(Hook::FromGuest, frame, returned).verdict, TC_ACT_UNSPEC);
  const auto after = usage(GRANTD_EGRESS);
  for (const auto& [packets, bytes] : {std::pair{&grantd_usage::allowed_packets, &grantd_usage::allowed_bytes},
                                       {&grantd_usage::returned_packets, &grantd_usage::returned_bytes}}) {
    EXPECT_EQ(after.*packets - before.*packets, 10U);
    EXPECT_EQ(after.*bytes - before.*bytes, frame.size() + 9 * 54);
  }
  EXPECT_EQ(after.queued_packets, waits.queued_packets);
}

TEST_F(Queue, WhereThereIsNoneNothingWaits) {
  const auto expect_waits = [&](bool waits, const std::string& what) {
    const auto before = usage(GRANTD_EGRESS);
    const Answer answer = send(GRANTD_EGRESS, first(GRANTD_EGRESS));
    EXPECT_EQ(answer.verdict, waits ? TC_ACT_REDIRECT : TC_ACT_UNSPEC) << what;
    EXPECT_EQ(answer.context.priority, waits ? kClass[GRANTD_EGRESS] : kPriority) << what;
    const auto after = usage(GRANTD_EGRESS);
    EXPECT_EQ(after.queued_packets - before.queued_packets, waits ? 1U : 0U) << what;
    EXPECT_EQ(after.allowed_packets - before.allowed_packets, waits ? 0U : 1U) << what;
    EXPECT_EQ(after.returned_packets, before.returned_packets) << what;
  };
  const grantd_shaper queues = *node().maps().shaper.find(0).value();
  const grantd_queue both = {{kClass[GRANTD_EGRESS], kClass[GRANTD_INGRESS]}};
  expect_waits(true, "at first");
  put_queue({{0, kClass[GRANTD_INGRESS]}});
  expect_waits(false, "no class in this direction");
  ASSERT_TRUE(node().maps().queue.erase(slow_.endpoint_id).ok());
  expect_waits(false, "no queue of this guest");
  put_queue(both);
  grantd_shaper changed = queues;
  changed.queue_ifindex = 0;
  put_shaper(changed);
  expect_waits(false, "no interface with queues");
  changed = queues;
  changed.secret = 0;
  put_shaper(changed);
  expect_waits(false, "nothing that would say that it has waited");
  put_shaper(queues);
  grantd_endpoint host_network = slow_;
  host_network.flags = GRANTD_ENDPOINT_HOST_NETWORK;
  put_endpoint(host_network);
  expect_waits(false, "a guest on the host's network");
  // The first bytes of its packets are taken for an Ethernet header as well, by BPF_PROG_TEST_RUN: with a source of
  // 8.0.0.0/16 its type is IPv4's.
  grantd_endpoint layer3 = slow_;
  layer3.flags = GRANTD_ENDPOINT_LAYER3;
  const Bytes source = address("8.0.0.2");
  std::copy(source.begin(), source.end(), reinterpret_cast<std::uint8_t*>(layer3.ipv4));
  put_endpoint(layer3);
  const auto before = usage(GRANTD_EGRESS);
  EXPECT_EQ(
      ask(Hook::FromGuest, ipv4({"8.0.0.2", kBob4, kUdp, 0, 0, {}}, udp(port_, 9, 60)), first(GRANTD_EGRESS)).verdict,
      TC_ACT_UNSPEC)
      << "a guest without an L2 header";
  EXPECT_EQ(usage(GRANTD_EGRESS).allowed_packets, before.allowed_packets + 1);
  EXPECT_EQ(usage(GRANTD_EGRESS).queued_packets, before.queued_packets);
  put_endpoint(slow_);
  expect_waits(true, "at last");
  put_queue({{kClass[GRANTD_EGRESS], 0}});
  EXPECT_EQ(send(GRANTD_INGRESS, first(GRANTD_INGRESS)).verdict, TC_ACT_UNSPEC) << "the directions are apart";
}

TEST_F(Queue, WhatMayNotPassDoesNotWait) {
  __sk_buff context = first(GRANTD_INGRESS);
  context.mark = 0;
  EXPECT_EQ(send(GRANTD_INGRESS, context).verdict, TC_ACT_SHOT);
  const auto before = usage(GRANTD_EGRESS);
  EXPECT_EQ(ask(Hook::FromGuest, frame_out(kSlow4, kStranger4, kUdp, udp(port_, 9, 60)), first(GRANTD_EGRESS)).verdict,
            TC_ACT_SHOT);
  EXPECT_EQ(usage(GRANTD_EGRESS).queued_packets, before.queued_packets);
}

TEST_F(Queue, WhatComesBackPaysAndIsCountedAsWhatItWas) {
  for (const grantd_direction direction : kBoth) {
    port_ = fresh_port();
    ASSERT_EQ(send(direction, first(direction)).verdict, TC_ACT_REDIRECT);
    for (const grantd_reason reason : {GRANTD_REASON_NEW_FLOW, GRANTD_REASON_ESTABLISHED, GRANTD_REASON_FRAGMENT}) {
      const grantd_reason as = reason == GRANTD_REASON_NEW_FLOW ? reason : GRANTD_REASON_ESTABLISHED;
      const auto before = usage(direction);
      const auto passed = counter(slot_, direction, as);
      const Answer answer = send(direction, back(direction, 0, reason, identity_of("bob")));
      EXPECT_EQ(answer.verdict, TC_ACT_UNSPEC);
      EXPECT_EQ(answer.context.cb[kCbSecret], 0U) << "the secret goes no further";
      EXPECT_EQ(answer.context.priority, kPriority);
      const auto after = usage(direction);
      EXPECT_EQ(after.allowed_packets - before.allowed_packets, 1U);
      EXPECT_EQ(after.allowed_bytes - before.allowed_bytes, datagram(direction).size());
      EXPECT_EQ(after.returned_packets - before.returned_packets, 1U);
      EXPECT_EQ(after.returned_bytes - before.returned_bytes, datagram(direction).size());
      EXPECT_EQ(after.queued_packets, before.queued_packets);
      EXPECT_EQ(after.refused_packets, before.refused_packets);
      EXPECT_EQ(counted(direction, as), passed.packets + 1) << reason_label(reason);
    }
  }
  // What was no flow's first packet is none either because it waited: it begins one now.
  port_ = fresh_port();
  const auto began = counted(GRANTD_EGRESS, GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(send(GRANTD_EGRESS, back(GRANTD_EGRESS)).verdict, TC_ACT_UNSPEC);
  EXPECT_EQ(counted(GRANTD_EGRESS, GRANTD_REASON_NEW_FLOW), began + 1);
}

TEST_F(Queue, WhatComesBackIsRefusedWhereTheBucketIsEmpty) {
  for (const grantd_direction direction : kBoth) {
    ASSERT_EQ(send(direction, first(direction)).verdict, TC_ACT_REDIRECT);
    const auto before = usage(direction);
    std::uint64_t allowed = 0, refused = 0;
    for (int i = 0; i < 100'000 && !refused; i++) {
      const Answer answer = send(direction, back(direction, 0, GRANTD_REASON_ESTABLISHED, identity_of("bob")), 1400);
      (answer.verdict == TC_ACT_SHOT ? refused : allowed)++;
      EXPECT_EQ(answer.context.cb[kCbSecret], 0U);
    }
    EXPECT_EQ(refused, 1U);
    const auto after = usage(direction);
    const std::size_t bytes = datagram(direction, 1400).size();
    EXPECT_EQ(after.allowed_packets - before.allowed_packets, allowed);
    EXPECT_EQ(after.allowed_bytes - before.allowed_bytes, allowed * bytes);
    EXPECT_EQ(after.refused_packets - before.refused_packets, 1U);
    EXPECT_EQ(after.refused_bytes - before.refused_bytes, bytes);
    EXPECT_EQ(after.returned_packets - before.returned_packets, allowed + 1) << "it came back all the same";
  }
}

TEST_F(Queue, WithoutTheSecretOrByAnotherWayNothingHasWaited) {
  struct Case {
    const char* name;
    grantd_direction direction;
    void (*change)(__sk_buff&);
    bool waits;
  };
  static std::uint32_t other;
  other = node().ifindex("tail0");
  const Case cases[] = {
      {"it has", GRANTD_EGRESS, [](__sk_buff&) {}, false},
      {"another secret", GRANTD_EGRESS, [](__sk_buff& context) { context.cb[kCbSecret]++; }, true},
      {"none", GRANTD_EGRESS, [](__sk_buff& context) { context.cb[kCbSecret] = 0; }, true},
      {"of what a guest sends the way says nothing", GRANTD_EGRESS,
       [](__sk_buff& context) { context.ingress_ifindex = other; }, false},
      {"it has", GRANTD_INGRESS, [](__sk_buff&) {}, false},
      {"another secret", GRANTD_INGRESS, [](__sk_buff& context) { context.cb[kCbSecret]++; }, true},
      {"another way", GRANTD_INGRESS, [](__sk_buff& context) { context.ingress_ifindex = other; }, true},
  };
  for (const Case& each : cases) {
    port_ = fresh_port();
    ASSERT_EQ(send(each.direction, first(each.direction)).verdict, TC_ACT_REDIRECT);
    __sk_buff context = back(each.direction, 0, GRANTD_REASON_ESTABLISHED, identity_of("bob"));
    each.change(context);
    const auto before = usage(each.direction);
    EXPECT_EQ(send(each.direction, context).verdict, each.waits ? TC_ACT_REDIRECT : TC_ACT_UNSPEC) << each.name;
    EXPECT_EQ(usage(each.direction).queued_packets - before.queued_packets, each.waits ? 1U : 0U) << each.name;
    EXPECT_EQ(usage(each.direction).returned_packets - before.returned_packets, each.waits ? 0U : 1U) << each.name;
  }
}

// No stamp says of the local node that it sent what comes through our own interface.
TEST_F(Queue, WhoSentItIsRecalled) {
  const auto reason_of = [&](const __sk_buff& context, std::uint8_t flags, std::size_t payload = 0) {
    return counted_as(frame_in(kNode4, kSlow4, kTcp, tcp(9, port_, flags, payload)), context, slot_);
  };
  __sk_buff from_node{};
  from_node.ifindex = slow_.ifindex;
  ASSERT_EQ(ask(Hook::ToGuest, frame_in(kNode4, kSlow4, kTcp, tcp(9, port_, kSyn)), from_node).verdict,
            TC_ACT_REDIRECT);
  __sk_buff context = back(GRANTD_INGRESS, 0, GRANTD_REASON_ESTABLISHED, GRANTD_IDENTITY_LOCAL_NODE);
  context.mark = 0;
  EXPECT_EQ(reason_of(context, kAck), "established");
  context.cb[kCbWhat] |= kWithoutSocket;
  EXPECT_EQ(reason_of(context, kAck), "established") << "a bare segment";
  EXPECT_EQ(reason_of(context, kRst), "established") << "another";
  EXPECT_EQ(reason_of(context, kAck, 1), "awaiting_peer") << "with data it is none";
  EXPECT_EQ(reason_of(context, kSyn | kAck), "awaiting_peer") << "nor is an answer to a SYN";
  EXPECT_EQ(reason_of(context, kSyn), "awaiting_peer") << "of a packet that no socket sent nobody is the sender";
  context.cb[kCbWhat] &= ~kWithoutSocket;
  EXPECT_EQ(reason_of(context, kSyn), "established");
  context.ingress_ifindex = node().ifindex("tail0");
  EXPECT_EQ(reason_of(context, kAck), "nobody") << "by another way nothing is recalled";
  context = back(GRANTD_INGRESS, 0, GRANTD_REASON_ESTABLISHED, identity_of("carol"));
  context.mark = 0;
  EXPECT_EQ(reason_of(context, kAck), "awaiting_peer") << "it began the flow, and is another one now";
}

// What has waited follows what stands; it begins nothing and settles no doubt.
TEST_F(Queue, WhatComesLateBeginsNothing) {
  const auto late = [&](std::uint8_t flags, const char* identity) {
    __sk_buff context = back(GRANTD_INGRESS, 0, GRANTD_REASON_NEW_FLOW, identity_of(identity));
    context.mark = stamp_of(identity);
    return ask(Hook::ToGuest, frame_in(kBob4, kSlow4, kTcp, tcp(9, port_, flags)), context).verdict;
  };
  const auto early = [&](std::uint8_t flags, const char* identity) {
    __sk_buff context = first(GRANTD_INGRESS);
    context.mark = stamp_of(identity);
    return ask(Hook::ToGuest, frame_in(kBob4, kSlow4, kTcp, tcp(9, port_, flags)), context).verdict;
  };
  const auto awaiting = [&] { return counted(GRANTD_INGRESS, GRANTD_REASON_AWAITING_PEER); };
  const auto before = awaiting();
  EXPECT_EQ(late(kSyn, "bob"), TC_ACT_SHOT) << "there is no flow";
  EXPECT_EQ(awaiting(), before + 1);
  EXPECT_EQ(early(kSyn, "bob"), TC_ACT_REDIRECT);
  EXPECT_EQ(late(kSyn, "bob"), TC_ACT_UNSPEC) << "there is one";
  EXPECT_EQ(late(kAck, "bob"), TC_ACT_UNSPEC);
  republish([](grantd_policy&) {}, "slow");
  EXPECT_EQ(late(kSyn, "bob"), TC_ACT_UNSPEC) << "under another policy";
  EXPECT_EQ(late(kAck, "alice"), TC_ACT_SHOT) << "of somebody else";
  EXPECT_EQ(awaiting(), before + 2);
  EXPECT_EQ(late(kAck, "bob"), TC_ACT_UNSPEC) << "who was late spoils nothing";
  republish([](grantd_policy& policy) { policy.realm_epoch++; }, "slow");
  EXPECT_EQ(late(kAck, "bob"), TC_ACT_SHOT) << "in doubt";
  EXPECT_EQ(awaiting(), before + 3);
  EXPECT_EQ(early(kAck, "bob"), TC_ACT_REDIRECT) << "a fresh packet settles it";
  EXPECT_EQ(late(kAck, "bob"), TC_ACT_UNSPEC);
  // A flow of the guest's own: replies follow it, a SYN would begin another.
  port_ = fresh_port();
  ASSERT_EQ(ask(Hook::FromGuest, frame_out(kSlow4, kBob4, kTcp, tcp(port_, 9, kSyn)), first(GRANTD_EGRESS)).verdict,
            TC_ACT_REDIRECT);
  EXPECT_EQ(late(kSyn | kAck, "carol"), TC_ACT_UNSPEC);
  republish([](grantd_policy&) {}, "slow");
  EXPECT_EQ(late(kSyn | kAck, "carol"), TC_ACT_UNSPEC) << "also under another policy";
  EXPECT_EQ(late(kSyn, "bob"), TC_ACT_SHOT);
  EXPECT_EQ(awaiting(), before + 4);
}

// Who sent it was said when it came: the mark is no witness of what the first judgement did not believe it.
TEST_F(Queue, WhoWasNobodyIsNobodyWhenItComesBack) {
  const grantd_endpoint web = endpoint_of("web");
  const auto comes = [&](const char* from, std::uint8_t flags, std::uint32_t identity, bool late = true) {
    __sk_buff context = late ? back(GRANTD_INGRESS, 0, GRANTD_REASON_ESTABLISHED, identity) : first(GRANTD_INGRESS);
    context.ifindex = web.ifindex;
    return counted_as(frame_in(from, kWeb4, kTcp, tcp(443, port_, flags)), context, web.slot);
  };
  const std::uint32_t bob = identity_of("bob");
  expect(to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(443, port_, kSyn)), "bob"), GRANTD_REASON_NEW_FLOW);
  EXPECT_EQ(comes(kBob4, kAck, bob), "established");
  EXPECT_EQ(comes(kBob4, kAck, GRANTD_IDENTITY_NOBODY), "awaiting_peer");
  // A flow of the guest's own, which the policy in force refuses: in its own right bob may begin one, but not late.
  const auto rules = node().maps().policy.find(policy_id("slow")).value()->rules_id;
  const auto narrowed = [&] { return republish([&](grantd_policy& policy) { policy.rules_id = rules; }); };
  expect(from_guest(frame_out(kWeb4, kOpen4, kTcp, tcp(port_, 443, kSyn))), GRANTD_REASON_NEW_FLOW);
  const auto before = narrowed();
  for (const std::uint32_t identity : {std::uint32_t{GRANTD_IDENTITY_NOBODY}, bob})
    EXPECT_EQ(comes(kOpen4, kAck, identity), "destination") << identity;
  EXPECT_EQ(comes(kOpen4, kAck, bob, false), "new_flow");
  restore(before);
}

// ---- how long packets waited ----

int bin_of(std::uint64_t waited_us) {
  int bin = 0;
  while (bin < GRANTD_DELAY_BINS - 1 && waited_us >= (std::uint64_t{GRANTD_DELAY_FIRST_US} << bin)) bin++;
  return bin;
}

TEST_F(Queue, DelaysAreCountedByTheirLength) {
  for (const grantd_direction direction : kBoth) {
    ASSERT_EQ(send(direction, first(direction)).verdict, TC_ACT_REDIRECT);
    const auto wait = [&](std::uint32_t waited_us) {
      EXPECT_EQ(send(direction, back(direction, waited_us, GRANTD_REASON_ESTABLISHED, identity_of("bob")), 0).verdict,
                TC_ACT_UNSPEC);
    };
    wait(300);
    grantd_delay before = delay(direction);
    EXPECT_EQ(before.grant_epoch, node().maps().policy.find(policy_id("slow")).value()->grant_epoch);
    EXPECT_EQ(std::accumulate(std::begin(before.packets), std::end(before.packets), std::uint64_t{0}), 1U)
        << "another Grant's are not counted with them";
    EXPECT_GE(before.total_us, 300U);
    for (int bin = 0; bin < GRANTD_DELAY_BINS + 2; bin++) {
      wait((GRANTD_DELAY_FIRST_US / 2 * 3U << bin) / 2);  // in the middle of the bin
      const grantd_delay after = delay(direction);
      const std::uint64_t waited_us = after.total_us - before.total_us;
      EXPECT_LE(waited_us - (GRANTD_DELAY_FIRST_US / 2 * 3U << bin) / 2, 60'000'000U) << "microseconds";
      before.packets[bin_of(waited_us)]++;
      before.total_us = after.total_us;
      EXPECT_TRUE(std::equal(std::begin(after.packets), std::end(after.packets), before.packets)) << waited_us << " us";
    }
  }
}

// Which side a bound itself is on: asked until a packet has waited for exactly so long.
TEST_F(Queue, ADelayOfExactlyABoundIsAboveIt) {
  ASSERT_EQ(send(GRANTD_EGRESS, first(GRANTD_EGRESS)).verdict, TC_ACT_REDIRECT);
  ASSERT_EQ(send(GRANTD_EGRESS, back(GRANTD_EGRESS), 0).verdict, TC_ACT_UNSPEC);
  const std::uint64_t bound = GRANTD_DELAY_FIRST_US << 5;
  std::uint64_t elapsed = 0;  // between the two clocks, of the last one
  const BootNanoseconds begin = boot_now();
  for (bool hit = false; !hit;) {
    ASSERT_LT(boot_now() - begin, 30'000'000'000U) << "no packet waited for exactly " << bound << " us";
    const grantd_delay before = delay(GRANTD_EGRESS);
    const auto aimed = static_cast<std::uint32_t>(bound - std::min(elapsed, bound));
    const Answer answer = send(GRANTD_EGRESS, back(GRANTD_EGRESS, aimed), 0);
    if (answer.verdict == TC_ACT_SHOT) continue;  // too many in a row for the rate
    const grantd_delay after = delay(GRANTD_EGRESS);
    const std::uint64_t waited_us = after.total_us - before.total_us;
    elapsed = waited_us - aimed;
    hit = waited_us == bound;
    EXPECT_EQ(after.packets[bin_of(waited_us)], before.packets[bin_of(waited_us)] + 1) << waited_us << " us";
  }
}

// ---- where they come back ----

TEST_F(Queue, ThereItsPriorityIsItsOwnAgain) {
  for (const grantd_direction direction : kBoth) {
    __sk_buff context = back(direction);
    context.priority = kClass[direction];
    context.cb[kCbPriority] = kPriority;
    const Answer answer = ask(Hook::FromQueue, datagram(direction), context);
    EXPECT_EQ(answer.verdict, TC_ACT_REDIRECT);
    EXPECT_EQ(answer.context.priority, kPriority);
    EXPECT_EQ(answer.context.cb[kCbSecret], kSecret) << "the hook that it goes back to asks for it";
  }
}

TEST_F(Queue, ThereWhatHasNotWaitedDrops) {
  const Bytes frame = datagram(GRANTD_EGRESS);
  const auto expect_dropped = [&](const __sk_buff& context, grantd_direction direction, grantd_reason reason) {
    const auto before = counter(0, direction, reason);
    EXPECT_EQ(ask(Hook::FromQueue, frame, context).verdict, TC_ACT_SHOT) << reason_label(reason);
    const auto after = counter(0, direction, reason);
    EXPECT_EQ(after.packets, before.packets + 1) << reason_label(reason);
    EXPECT_EQ(after.bytes, before.bytes + frame.size());
    EXPECT_GT(after.last_seen_ns + 60'000'000'000, boot_now());
  };
  __sk_buff context = back(GRANTD_EGRESS);
  context.cb[kCbSecret]++;
  expect_dropped(context, GRANTD_INGRESS, GRANTD_REASON_LINK_CHATTER);
  const grantd_shaper queues = *node().maps().shaper.find(0).value();
  grantd_shaper changed = queues;
  changed.secret = context.cb[kCbSecret] = 0;
  put_shaper(changed);
  expect_dropped(context, GRANTD_INGRESS, GRANTD_REASON_LINK_CHATTER);
  put_shaper(queues);
  // The interface that it waited for is gone.
  ASSERT_TRUE(node().maps().device.erase(slow_.ifindex).ok());
  for (const grantd_direction direction : kBoth) expect_dropped(back(direction), direction, GRANTD_REASON_NO_ENDPOINT);
  ASSERT_TRUE(node().maps().device.put(slow_.ifindex, slow_.ifindex).ok());
  EXPECT_EQ(ask(Hook::FromQueue, frame, back(GRANTD_EGRESS)).verdict, TC_ACT_REDIRECT);
}

}  // namespace
}  // namespace grantd::prog
