// The bucket's arithmetic in the programs, at its edges: a byte costs so much time that what passes meanwhile is
// nothing.
#include "agent/node/clock.h"
#include "tests/prog/fixture.h"

#include <linux/pkt_cls.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <functional>
#include <thread>
#include <vector>

namespace grantd::prog {
namespace {

constexpr std::uint64_t kByteNs = 1ULL << 31, kCost = kByteNs << GRANTD_COST_SHIFT;  // two seconds a byte

constexpr std::uint64_t cost_of(std::uint64_t bytes) { return bytes * kByteNs + 1; }

class Bucket : public Prog {
 protected:
  void SetUp() override {
    slot_ = slot_of("slow");
    before_ = policy_id("slow");
    port_ = fresh_port();
    // What a CPU has borrowed is its own: on one of them.
    cpu_set_t here;
    ASSERT_EQ(sched_getaffinity(0, sizeof(all_), &all_), 0);
    CPU_ZERO(&here);
    CPU_SET(static_cast<std::size_t>(sched_getcpu()), &here);
    ASSERT_EQ(sched_setaffinity(0, sizeof(here), &here), 0);
    // The flow is there before it is limited so.
    ASSERT_TRUE(sends());
  }
  void TearDown() override {
    restore(before_, "slow");
    EXPECT_EQ(sched_setaffinity(0, sizeof(all_), &all_), 0);
  }
  // In force from now on, with a bucket that is full.
  void limit(std::uint64_t burst_ns, std::uint64_t quantum_bytes, std::uint64_t cost_per_byte = kCost) {
    static std::uint64_t epoch = 10'000'000;
    using Wide = unsigned __int128;
    burst_bytes_ = static_cast<std::uint64_t>((static_cast<Wide>(burst_ns) << GRANTD_COST_SHIFT) /
                                              std::max<std::uint64_t>(cost_per_byte, 1));
    republish(
        [&](grantd_policy& policy) {
          policy.grant_epoch = epoch_ = epoch++;
          policy.limit[GRANTD_EGRESS] = {1, burst_bytes_, cost_per_byte, burst_ns, quantum_bytes};
        },
        "slow");
  }
  // A datagram in a frame of so many bytes.
  bool sends(std::size_t bytes = kFrame) {
    return run(Hook::FromGuest, frame_out("10.20.0.8", kBob4, kUdp, udp(port_, 9, bytes - 42)), interface_of("slow"),
               {})
        .passes;
  }
  std::uint32_t index() const { return GRANTD_BUCKET_INDEX(slot_, GRANTD_EGRESS); }
  grantd_bucket bucket() { return *node().maps().bucket.find(index()).value(); }
  std::uint64_t credit() { return node().maps().credit_bytes(index(), epoch_).value(); }
  // What the bucket owes, in bytes: less than one of them is paid meanwhile.
  std::uint64_t owed() {
    const std::uint64_t full = bucket().full_at_ns, now = boot_now();
    return full > now ? (full - now + kByteNs - 2) / kByteNs : 0;
  }
  // A bucket that lacks so long a time (or was full so long ago), reckoned at that cost.
  void owe(std::int64_t debt_ns, std::uint64_t cost_per_byte, const std::function<void(grantd_bucket&)>& edit = {}) {
    grantd_bucket record{};
    record.full_at_ns = boot_now() + static_cast<std::uint64_t>(debt_ns);
    record.cost_per_byte = cost_per_byte;
    record.burst_bytes = burst_bytes_;
    record.grant_epoch = epoch_;
    if (edit) edit(record);
    ASSERT_TRUE(node().maps().bucket.put(index(), record).ok());
  }
  static constexpr std::size_t kFrame = 100;

  cpu_set_t all_{};
  std::uint32_t slot_ = 0;
  std::uint16_t port_ = 0;
  std::uint64_t before_ = 0, epoch_ = 0, burst_bytes_ = 0;
};

TEST_F(Bucket, WhatTakesExactlyTheBurstPasses) {
  limit(cost_of(kFrame), 0);
  EXPECT_TRUE(sends());
  EXPECT_FALSE(sends());
  EXPECT_EQ(owed(), kFrame);
  limit(cost_of(kFrame) - 1, 0);
  EXPECT_FALSE(sends());
  EXPECT_EQ(owed(), 0U) << "what is refused takes nothing";
  EXPECT_EQ(credit(), 0U);
}

TEST_F(Bucket, AQuantumIsBorrowedWhereItFits) {
  limit(cost_of(250), 250);
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), 250U);
  EXPECT_EQ(credit(), 250 - kFrame);
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), 250U) << "it was paid for";
  EXPECT_EQ(credit(), 250 - 2 * kFrame);
  EXPECT_FALSE(sends());
  EXPECT_EQ(credit(), 250 - 2 * kFrame);
  EXPECT_TRUE(sends(50)) << "what is left is enough for this one";
  EXPECT_EQ(credit(), 0U);
  EXPECT_EQ(owed(), 250U);
  limit(cost_of(250) - 1, 250);
  EXPECT_TRUE(sends()) << "what is needed alone";
  EXPECT_EQ(owed(), kFrame);
  EXPECT_EQ(credit(), 0U);
  limit(cost_of(kFrame), 250);
  EXPECT_TRUE(sends());
  limit(cost_of(kFrame) - 1, 250);
  EXPECT_FALSE(sends());
  limit(cost_of(500), kFrame - 1);
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), kFrame) << "a quantum is less than what is needed";
}

TEST_F(Bucket, WhatIsMissingIsAskedForAlone) {
  limit(cost_of(500), 150);
  EXPECT_TRUE(sends());
  EXPECT_EQ(credit(), 50U);
  EXPECT_TRUE(sends()) << "needs 50 more, and takes a quantum";
  EXPECT_EQ(owed(), 300U);
  EXPECT_EQ(credit(), 100U);
  limit(cost_of(210), 150);
  EXPECT_TRUE(sends());
  EXPECT_TRUE(sends()) << "50 more are there, a quantum is not";
  EXPECT_EQ(owed(), 200U);
  EXPECT_EQ(credit(), 0U);
}

TEST_F(Bucket, ItsRecordSaysAtWhatCostAndWhose) {
  limit(cost_of(500), 0);
  const std::uint64_t begin = boot_now();
  EXPECT_TRUE(sends());
  const grantd_bucket record = bucket();
  EXPECT_EQ(record.grant_epoch, epoch_);
  EXPECT_EQ(record.cost_per_byte, kCost);
  EXPECT_LE(record.full_at_ns - cost_of(kFrame) - begin, boot_now() - begin);
}

TEST_F(Bucket, ADebtIsTheSameBytesAtAnotherCost) {
  struct Case {
    const char* name;
    std::uint64_t debt_ns, old_cost, expected_ns, expected_owed;
  };
  const std::uint64_t burst_ns = cost_of(50);
  const std::uint64_t debt = 70 * kByteNs + kByteNs * 3 / 4;
  const Case cases[] = {
      {"the same cost", debt, kCost, debt, 0},
      {"twice as dear before", debt, 2 * kCost, cost_of(36), 0},
      {"half as dear before", debt, kCost / 2, cost_of(50), 142 - 50},
      {"as much as there is room for", 99 * kByteNs + kByteNs * 3 / 4, 2 * kCost, cost_of(50), 0},
      {"a byte more", 101 * kByteNs + kByteNs * 3 / 4, 2 * kCost, cost_of(50), 1},
      {"much more than there is room for", debt, kCost / 1024, cost_of(50), 72'449 - 50},
      {"the longest debt", (1ULL << 43) - kByteNs / 2, 128 * kCost, cost_of(32), 0},
      {"a debt beyond all bounds", 1ULL << 44, kCost * 128, burst_ns, 0},
      {"a cost that says nothing", debt, 15, burst_ns, 0},
      {"the least that does", debt, 16, cost_of(50), (debt << 20) + 1 - 50},
  };
  for (const Case& each : cases) {
    // Once more where so much time went by that a part of a byte was paid.
    for (bool done = false; !done;) {
      limit(burst_ns, 0);
      const std::uint64_t begin = boot_now();
      owe(static_cast<std::int64_t>(each.debt_ns), each.old_cost);
      EXPECT_FALSE(sends()) << each.name;
      const grantd_bucket after = bucket();
      const std::uint64_t went_by = boot_now() - begin;
      done = went_by < kByteNs / 8;
      if (!done) continue;
      const auto off = static_cast<std::int64_t>(after.full_at_ns - begin - each.expected_ns);
      EXPECT_LT(std::abs(off), static_cast<std::int64_t>(kByteNs / 8)) << each.name;
      EXPECT_EQ(after.cost_per_byte, kCost) << each.name;
      EXPECT_EQ(after.burst_bytes, burst_bytes_) << each.name;
      if (each.old_cost == 16)
        EXPECT_NEAR(static_cast<double>(after.owed_bytes), static_cast<double>(each.expected_owed),
                    1e-3 * static_cast<double>(each.expected_owed))
            << each.name;
      else
        EXPECT_NEAR(static_cast<double>(after.owed_bytes), static_cast<double>(each.expected_owed),
                    each.old_cost == kCost / 1024 ? 128 : 0)
            << each.name;
    }
  }
}

// What a smaller burst had no room for is counted again under another limit, and only then.
TEST_F(Bucket, WhatIsOwedIsCountedAgainUnderAnotherLimit) {
  limit(cost_of(500), 0);
  const auto owes = [&](std::uint64_t bytes, std::uint64_t burst) {
    owe(static_cast<std::int64_t>(cost_of(100)), kCost, [=](grantd_bucket& record) {
      record.owed_bytes = bytes;
      record.burst_bytes = burst;
    });
  };
  owes(200, burst_bytes_);
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), 100 + kFrame) << "under the same limit it is not";
  EXPECT_EQ(bucket().owed_bytes, 200U);
  for (const std::uint64_t other : {burst_bytes_ + 1, burst_bytes_ - 1}) {
    owes(200, other);
    EXPECT_TRUE(sends());
    EXPECT_EQ(owed(), 300 + kFrame) << other;
    EXPECT_EQ(bucket().owed_bytes, 0U);
    EXPECT_EQ(bucket().burst_bytes, burst_bytes_);
  }
  owes(1000, burst_bytes_ + 1);
  EXPECT_FALSE(sends());
  EXPECT_EQ(owed(), 500U);
  EXPECT_EQ(bucket().owed_bytes, 600U);
  // A full one owes as well.
  owe(0, kCost, [](grantd_bucket& record) { record.owed_bytes = 30, record.burst_bytes++; });
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), 31 + kFrame);
}

TEST_F(Bucket, WhatIsOwedIsNotTheNextGrants) {
  limit(cost_of(500), 0);
  owe(0, kCost, [](grantd_bucket& record) { record.owed_bytes = 450, record.burst_bytes++, record.grant_epoch--; });
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), kFrame);
  EXPECT_EQ(bucket().owed_bytes, 0U);
}

// What CPUs may have borrowed an empty bucket does not lack: nobody waits for that.
TEST_F(Bucket, AnEmptyOneLacksWhatItMayGive) {
  limit(cost_of(50), 0);
  burst_bytes_ = 60;
  republish([&](grantd_policy& policy) { policy.limit[GRANTD_EGRESS].burst_bytes = burst_bytes_; }, "slow");
  owe(static_cast<std::int64_t>(cost_of(70)), kCost / 2);
  EXPECT_FALSE(sends());
  EXPECT_EQ(owed(), 50U);
  EXPECT_EQ(bucket().owed_bytes, 140 - 50U);
}

// Nobody draws on it meanwhile: time counts at the rate of before up to the change, and from then on at the new one.
TEST_F(Bucket, AChangeIsKnownToABucketOnWhichNobodyDraws) {
  for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
    limit(cost_of(500), 0);
    const std::uint32_t index = GRANTD_BUCKET_INDEX(slot_, direction);
    const auto change = [&](std::uint64_t cost_per_byte) {
      republish(
          [&](grantd_policy& policy) {
            policy.limit[direction] = {1, burst_bytes_, cost_per_byte, cost_of(500), 0};
          },
          "slow");
      return *node().maps().bucket.find(index).value();
    };
    grantd_bucket record{};
    record.full_at_ns = boot_now() + cost_of(100);
    record.cost_per_byte = kCost;
    record.burst_bytes = burst_bytes_;
    record.grant_epoch = epoch_;
    ASSERT_TRUE(node().maps().bucket.put(index, record).ok());
    const grantd_bucket dearer = change(2 * kCost);
    EXPECT_EQ(dearer.cost_per_byte, 2 * kCost) << direction;
    EXPECT_NEAR(static_cast<double>(dearer.full_at_ns - boot_now()), 200.0 * static_cast<double>(kByteNs),
                3.0 * static_cast<double>(kByteNs));
    const grantd_bucket as_before = change(kCost);
    EXPECT_EQ(as_before.cost_per_byte, kCost) << direction;
    EXPECT_NEAR(static_cast<double>(as_before.full_at_ns - boot_now()), 100.0 * static_cast<double>(kByteNs),
                3.0 * static_cast<double>(kByteNs));
    EXPECT_EQ(as_before.owed_bytes, 0U);
  }
}

TEST_F(Bucket, ADebtIsNotForgivenWhereNothingCosts) {
  limit(cost_of(kFrame), 0, 0);
  EXPECT_TRUE(sends());
  owe(70 * kByteNs, kCost);
  EXPECT_FALSE(sends());
  EXPECT_EQ(bucket().cost_per_byte, 0U);
}

TEST_F(Bucket, WithoutADebtAnotherCostIsAByteAtTheMost) {
  limit(cost_of(kFrame + 1) + 1, 0);
  owe(0, kCost / 2);
  EXPECT_TRUE(sends()) << "a full one stays full";
  EXPECT_EQ(owed(), kFrame + 1);
  EXPECT_EQ(bucket().cost_per_byte, kCost);
  owe(0, 15);
  EXPECT_FALSE(sends()) << "what cannot be reckoned is empty";
}

TEST_F(Bucket, AnotherGrantsDebtIsNotItsOwn) {
  limit(cost_of(kFrame), 0);
  owe(70 * kByteNs, kCost);
  grantd_bucket record = bucket();
  record.grant_epoch--;
  ASSERT_TRUE(node().maps().bucket.put(index(), record).ok());
  EXPECT_TRUE(sends());
  EXPECT_EQ(owed(), kFrame);
  EXPECT_EQ(bucket().grant_epoch, epoch_);
}

TEST_F(Bucket, ADryRunTakesNoTokenAndCountsNoUse) {
  limit(cost_of(kFrame), kFrame);
  const auto usage = [&] { return node().maps().usage.find({endpoint_of("slow").endpoint_id, GRANTD_EGRESS}).value(); };
  const auto before = usage();
  for (int i = 0; i < 3; i++)
    EXPECT_EQ(explain(Hook::FromGuest, frame_out("10.20.0.8", kBob4, kUdp, udp(port_, 9, kFrame - 42)), "slow").reason,
              GRANTD_REASON_ESTABLISHED);
  EXPECT_EQ(usage()->allowed_packets, before->allowed_packets);
  EXPECT_TRUE(sends());
  EXPECT_EQ(usage()->allowed_packets, before->allowed_packets + 1);
  EXPECT_EQ(usage()->allowed_bytes, before->allowed_bytes + kFrame);
  EXPECT_FALSE(sends());
  EXPECT_EQ(usage()->refused_packets, before->refused_packets + 1);
  EXPECT_EQ(usage()->refused_bytes, before->refused_bytes + kFrame);
  EXPECT_EQ(usage()->returned_packets, before->returned_packets);
}

// All CPUs at once empty one bucket that holds what takes them some 200 ms.
class BucketOfManyCpus : public Bucket, public testing::WithParamInterface<std::uint64_t> {
 protected:
  static constexpr std::uint32_t kRow = 1000, kMost = 10'000'000;  // packets
  // Half a second a byte: the cost of a quantum too has no more than 64 bits.
  static constexpr std::uint64_t kSlow = kByteNs / 4, kPacketNs = kSlow * kFrame + 1;

  void SetUp() override {
    Bucket::SetUp();
    for (std::size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
      if (CPU_ISSET(cpu, &all_)) cpus_.push_back(cpu);
  }
  // Of this CPU, at the fastest: others may have it at times.
  std::uint64_t packets_of_200_ms() {
    limit(std::uint64_t{kMost} * kPacketNs, 0, kCost / 4);
    std::uint64_t fastest = ~0ULL;
    for (int i = 0; i < 10; i++) {
      const std::uint64_t begin = boot_now();
      EXPECT_EQ(send_row(frame_of(0)), TC_ACT_UNSPEC);
      fastest = std::min(fastest, boot_now() - begin);
    }
    return std::min<std::uint64_t>(200'000'000ULL * kRow / fastest, kMost / cpus_.size());
  }
  // A flow for each CPU: what they share is the bucket.
  Bytes frame_of(std::size_t cpu) {
    return frame_out("10.20.0.8", kBob4, kUdp, udp(static_cast<std::uint16_t>(port_ + cpu), 9, kFrame - 42));
  }
  int send_row(const Bytes& frame) {
    __sk_buff context{};
    context.ifindex = interface_of("slow");
    return ask(Hook::FromGuest, frame, context, kRow).verdict;
  }
  // Until nothing passes on any CPU, but `most` packets on each of them at most. Returns how many were sent.
  std::uint64_t empty(std::uint64_t most) {
    std::atomic<std::uint64_t> sent = 0;
    std::barrier together(static_cast<std::ptrdiff_t>(cpus_.size()));
    std::vector<std::thread> threads;
    for (const std::size_t cpu : cpus_)
      threads.emplace_back([&, cpu] {
        cpu_set_t here;
        CPU_ZERO(&here);
        CPU_SET(cpu, &here);
        EXPECT_EQ(sched_setaffinity(0, sizeof(here), &here), 0);
        const Bytes frame = frame_of(cpu);
        together.arrive_and_wait();
        std::uint64_t its = 0;
        do its += kRow;
        while (send_row(frame) != TC_ACT_SHOT && its < most);
        sent += its;
      });
    for (std::thread& each : threads) each.join();
    return sent;
  }
  grantd_usage used() {
    return node().maps().usage.find({endpoint_of("slow").endpoint_id, GRANTD_EGRESS}).value().value();
  }

  std::vector<std::size_t> cpus_;
};

TEST_P(BucketOfManyCpus, GivesEachByteToOneOfThem) {
  const std::uint64_t packets = cpus_.size() * packets_of_200_ms();
  const std::uint64_t begin = boot_now();
  limit(packets * kPacketNs, GetParam() * kFrame, kCost / 4);
  const grantd_usage before = used();
  const std::uint64_t sent = empty(4 * packets);
  const grantd_usage after = used();
  const std::uint64_t passed = after.allowed_packets - before.allowed_packets;
  ASSERT_GT(sent, packets) << "more was sent than the bucket holds";
  EXPECT_EQ(passed + after.refused_packets - before.refused_packets, sent);
  EXPECT_LE(passed, packets + (boot_now() - begin) / kPacketNs) << "beyond the burst and what time brings";
  EXPECT_GE(passed + cpus_.size() * GetParam(), packets) << "what is left is what CPUs have borrowed";
}

INSTANTIATE_TEST_SUITE_P(Quanta, BucketOfManyCpus, testing::Values(0, 10));

}  // namespace
}  // namespace grantd::prog
