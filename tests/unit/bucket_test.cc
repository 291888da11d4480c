// The bucket's arithmetic, as the datapath has it: never more than rate x time + burst, for any arrivals, packets, CPUs
// and changes of the rate, and at the edges of the clock.
#include "agent/compile/grants.h"
#include "agent/plan/encode.h"
#include "bpf/bucket_level.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace grantd {
namespace {

using Wide = unsigned __int128;

// A bucket with the credit that each CPU has borrowed from it, as bpf/bucket.h spends it.
class Node {
 public:
  explicit Node(unsigned cpus) : credit_(cpus) { std::memset(static_cast<void*>(&bucket_), 0, sizeof(bucket_)); }
  bool pass(unsigned cpu, std::uint64_t bytes, std::uint64_t now, const grantd_limit& limit) {
    std::uint64_t& credit = credit_[cpu];
    if (credit < bytes) {
      const std::uint64_t taken = take_level(&bucket_, &limit, 1, now, bytes - credit,
                                             std::max<std::uint64_t>(bytes - credit, limit.quantum_bytes));
      if (taken == 0) return false;
      credit += taken;
    }
    credit -= bytes;
    return true;
  }
  // As the agent has it done when it has published another limit.
  void settle(std::uint64_t now, const grantd_limit& limit) {
    EXPECT_EQ(take_level(&bucket_, &limit, 1, now, ~0ULL, ~0ULL), 0U);
  }
  std::uint64_t credit() const {
    std::uint64_t sum = 0;
    for (const std::uint64_t each : credit_) sum += each;
    return sum;
  }

 private:
  grantd_bucket bucket_;
  std::vector<std::uint64_t> credit_;
};

struct World {
  std::mt19937_64 random;
  unsigned cpus;
  std::uint64_t now;
  std::uint64_t below(std::uint64_t most) { return random() % most; }
  std::uint64_t any_rate() {
    const auto exponent = below(20);
    return std::min<std::uint64_t>(GRANTD_MIN_RATE_BPS * (1 + below(1000)) << exponent, GRANTD_MAX_RATE_BPS);
  }
  // A burst that compile would accept: at least a packet of segmentation offload, and not too long.
  grantd_limit any_limit() { return any_limit_of(any_rate()); }
  grantd_limit any_limit_of(std::uint64_t rate) {
    const std::uint64_t longest = static_cast<std::uint64_t>((Wide{1} << 38) * rate / 8'000'000'000ULL);
    const std::uint64_t burst = GRANTD_MIN_BURST_BYTES + below(1ULL << below(30));
    return encode_limit({rate, std::max<std::uint64_t>(GRANTD_MIN_BURST_BYTES, std::min(burst, longest))}, cpus);
  }
  std::uint64_t any_wait(const grantd_limit& limit) {
    switch (below(6)) {
      case 0:
        return 0;
      case 1:
        return below(1000);
      case 2:
        return limit.burst_ns + below(limit.burst_ns + 1);
      case 3:
        return below(50) == 0 ? 365ULL * 86'400 * GRANTD_NS_PER_SECOND : 0;
      default:
        return below(limit.burst_ns / 50 + 2);
    }
  }
  // With the headers that a guest's own segmentation offload repeats, some weigh megabytes.
  std::uint64_t any_packet() {
    if (below(16) == 0) return 1 + below(1ULL << (17 + below(16)));
    return below(3) ? 60 + below(1500) : 1 + below(70'000);
  }
};

World world(std::uint32_t seed) {
  World made{std::mt19937_64(seed), 1, 0};
  made.cpus = 1 + static_cast<unsigned>(made.below(8));
  made.now = made.below(3) ? made.below(1ULL << 50) : (1ULL << 62) + made.below(1ULL << 50);
  return made;
}

// What the rate fills in this time, in bytes, rounded up.
Wide filled(std::uint64_t rate_bps, std::uint64_t nanoseconds) {
  return Wide{rate_bps} * nanoseconds / (8 * Wide{GRANTD_NS_PER_SECOND}) + 1;
}

RC_GTEST_PROP(Bucket, NeverMoreThanRateTimesTimePlusBurst, (std::uint32_t seed)) {
  World w = world(seed);
  const grantd_limit limit = w.any_limit();
  Node node(w.cpus);
  struct Passed {
    std::uint64_t at, bytes;  // in all by then
  };
  std::vector<Passed> history = {{w.now, 0}};
  const std::uint64_t begin = w.now;
  std::uint64_t passed = 0;
  for (int step = 0; step < 400; step++) {
    w.now += w.any_wait(limit);
    for (auto burst = w.below(20); burst > 0; burst--) {
      const std::uint64_t bytes = w.any_packet();
      if (node.pass(static_cast<unsigned>(w.below(w.cpus)), bytes, w.now, limit)) passed += bytes;
    }
    RC_ASSERT(passed + node.credit() <= limit.burst_bytes + filled(limit.rate_bps, w.now - begin));
    RC_ASSERT(node.credit() <= limit.burst_bytes / 16);
    history.push_back({w.now, passed});
  }
  // In any window, also one that begins with quanta that were borrowed before it.
  for (std::size_t from = 1; from < history.size(); from += 7)
    for (std::size_t to = from; to < history.size(); to += 3)
      RC_ASSERT(history[to].bytes - history[from - 1].bytes <=
                limit.burst_bytes + filled(limit.rate_bps, history[to].at - history[from].at));
}

RC_GTEST_PROP(Bucket, AChangeOfTheRateGivesNothingAway, (std::uint32_t seed)) {
  World w = world(seed);
  grantd_limit limit = w.any_limit();
  Node node(w.cpus);
  Wide allowed = 0;
  std::uint64_t passed = 0, largest = limit.burst_bytes;
  for (int step = 0; step < 300; step++) {
    if (w.below(3) == 0) {
      // Of the burst alone, too.
      limit = w.below(4) == 0 ? w.any_limit_of(limit.rate_bps) : w.any_limit();
      largest = std::max<std::uint64_t>(largest, limit.burst_bytes);
      node.settle(w.now, limit);
    }
    const std::uint64_t wait = w.any_wait(limit);
    w.now += wait;
    allowed += filled(limit.rate_bps, wait);
    for (auto burst = w.below(20); burst > 0; burst--) {
      const std::uint64_t bytes = w.any_packet();
      if (node.pass(static_cast<unsigned>(w.below(w.cpus)), bytes, w.now, limit)) passed += bytes;
    }
    RC_ASSERT(passed <= allowed + largest);
  }
}

// From the least that a Grant may have to the most, and back, by whoever empties the bucket at each: what was used of
// the larger burst is not given again, and nobody waits for a debt that the smaller one could not have made.
void falls_and_rises(unsigned cpus, bool silent) {
  const auto default_limit = [&](std::uint64_t rate) { return encode_limit({rate, default_burst_bytes(rate)}, cpus); };
  const grantd_limit fast = default_limit(10'000'000'000), slow = default_limit(64'000);
  Node node(cpus);
  std::uint64_t now = GRANTD_NS_PER_SECOND;
  const auto passes = [&](const grantd_limit& limit, std::uint64_t size) {
    std::uint64_t bytes = 0;
    while (node.pass(0, size, now, limit)) bytes += size;
    return bytes;
  };
  node.settle(now, fast);
  EXPECT_GT(passes(fast, 1514), fast.burst_bytes / 16 * 15);
  for (int turn = 0; turn < 20; turn++) {
    node.settle(now, slow);
    if (!silent) {
      EXPECT_EQ(passes(slow, 100), 0U);
    }
    std::uint64_t bytes = 0;
    for (int quarter = 0; quarter < 40; quarter++) {
      now += GRANTD_NS_PER_SECOND / 4;
      if (!silent || quarter == 39) bytes += passes(slow, 100);
    }
    EXPECT_GE(bytes, 79'000U) << "the slow rate is there at once";
    EXPECT_LE(bytes, 80'100U);
    node.settle(now, fast);
    EXPECT_LE(passes(fast, 1514), 1514U * 20) << "nothing of the burst is back";
  }
  now += GRANTD_NS_PER_SECOND / 4;
  EXPECT_GT(passes(fast, 1514), fast.burst_bytes / 16 * 15) << "it fills as ever";
}

TEST(Bucket, AFallAndARiseGiveNoBurstAgain) { falls_and_rises(1, false); }
TEST(Bucket, NorWhereManyCpusShareIt) { falls_and_rises(8, false); }
TEST(Bucket, NorToWhoIsSilentMeanwhile) { falls_and_rises(1, true); }

// What a smaller burst had no room for is none of a larger one either, also where the rate is the same.
TEST(Bucket, ALargerBurstOfTheSameRateGivesNothingAway) {
  const auto limit_of = [](std::uint64_t rate, std::uint64_t burst) { return encode_limit({rate, burst}, 1); };
  const grantd_limit fast = limit_of(80'000'000, 10'000'000),
                     turns[] = {limit_of(8'000'000, 1'000'000), limit_of(8'000'000, 10'000'000)};
  Node node(1);
  std::uint64_t now = GRANTD_NS_PER_SECOND, passed = 0;
  const auto send = [&](const grantd_limit& limit) {
    while (node.pass(0, 1000, now, limit)) passed += 1000;
  };
  send(fast);
  for (int turn = 0; turn < 20; turn++) {
    send(turns[turn % 2]);
    now += GRANTD_NS_PER_SECOND / 4;
    send(turns[turn % 2]);
  }
  EXPECT_LE(passed, fast.burst_bytes + filled(8'000'000, now - GRANTD_NS_PER_SECOND));
  EXPECT_GE(passed, fast.burst_bytes / 16 * 15 + 20 * 250'000U / 16 * 15);
}

// An idle bucket lets its burst pass, less what CPUs may borrow, and then what the rate fills.
RC_GTEST_PROP(Bucket, NearlyAllOfItIsGranted, (std::uint32_t seed)) {
  World w = world(seed);
  w.cpus = 1;
  const grantd_limit limit = w.any_limit();
  Node node(1);
  const std::uint64_t begin = w.now, step_ns = std::max<std::uint64_t>(limit.burst_ns / 20, 1), bytes = 1514;
  std::uint64_t passed = 0;
  for (int step = 0; step < 100; step++) {
    while (node.pass(0, bytes, w.now, limit)) passed += bytes;
    w.now += step_ns;
  }
  const Wide fair = limit.burst_bytes + filled(limit.rate_bps, w.now - step_ns - begin);
  RC_ASSERT(Wide{passed} * 100 >= fair * 96);
}

}  // namespace
}  // namespace grantd
