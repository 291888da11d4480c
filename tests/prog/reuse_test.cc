// An element whose flow is evicted is used for another key at once, also while a program on another CPU reads it
// (decision 70).
#include "tests/prog/fixture.h"

#include <bpf/bpf.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <thread>

namespace grantd::prog {
namespace {

using namespace std::chrono_literals;

class Reuse : public Prog {
 protected:
  void SetUp() override {
    ASSERT_EQ(sched_getaffinity(0, sizeof(all_), &all_), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
      if (CPU_ISSET(cpu, &all_)) cpus_.push_back(cpu);
    web_ = endpoint_of("web");
  }
  void TearDown() override { EXPECT_EQ(sched_setaffinity(0, sizeof(all_), &all_), 0); }

  static void stay_on(int cpu) {
    cpu_set_t here;
    CPU_ZERO(&here);
    CPU_SET(static_cast<std::size_t>(cpu), &here);
    if (sched_setaffinity(0, sizeof(here), &here) != 0) std::abort();
  }

  FlowTable flows() { return *node().maps().flow_table(web_.slot).value(); }
  template <typename Table>
  static auto record(const Table& table, const std::function<bool(const typename Table::key_type&)>& is_it) {
    const auto all = table.entries().value();
    const auto found = std::find_if(all.begin(), all.end(), [&](const auto& each) { return is_it(each.first); });
    if (found == all.end()) throw std::runtime_error("no record");
    return std::pair{found->first, found->second};
  }
  auto flow_of(std::uint16_t port) {
    return record(flows(), [&](const grantd_flow_key& key) { return key.local_port == port; });
  }
  auto begun_by_bob() {
    const std::uint16_t port = fresh_port();
    expect(to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(443, port, kSyn)), "bob"), GRANTD_REASON_NEW_FLOW);
    return flow_of(port);
  }

  // On another CPU one element is the first key's and then the second one's; `look` is called while it is that. How
  // many packets were counted as `reason` meanwhile: this CPU sends `frame` all the time, and is interrupted as often
  // as can be.
  template <typename Record>
  std::uint64_t race(
      int table_fd, const Record& first, const Record& second, Hook hook, const std::vector<Bytes>& frames,
      grantd_reason reason, const std::function<void()>& look = [] {}) {
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> runs{0};
    const auto put = [&](const Record& each) { bpf_map_update_elem(table_fd, &each.first, &each.second, BPF_ANY); };
    const auto erase = [&](const Record& each) { bpf_map_delete_elem(table_fd, &each.first); };
    const auto now = [] { return std::chrono::steady_clock::now(); };
    erase(first);
    std::thread writer([&] {
      stay_on(cpus_.back());
      const auto wait_for_next_run = [&] {
        for (const std::uint64_t before = runs; runs == before && !over;) std::this_thread::yield();
      };
      for (unsigned round = 0; !over; round++) {
        put(first);
        wait_for_next_run();
        for (const auto end = now() + 1us * (round % 16); now() < end;) continue;  // at any moment of a run
        erase(first);
        put(second);
        // No program reads the element any more when it is the first key's again: decision 70 says why.
        wait_for_next_run();
        look();
        erase(second);
      }
    });
    std::thread interrupter([&] {
      stay_on(cpus_.front());
      while (!over) std::this_thread::sleep_for(5us);
    });
    stay_on(cpus_.front());
    const auto direction = hook == Hook::FromGuest ? GRANTD_EGRESS : GRANTD_INGRESS;
    const std::uint64_t before = counter(web_.slot, direction, reason).packets;
    Context nobody;
    if (hook == Hook::ToGuest) nobody.ingress_ifindex = node().ifindex("uplink0");
    for (const auto end = now() + 1s; now() < end; runs++)
      for (const Bytes& frame : frames) run(hook, frame, web_.ifindex, nobody, frames.size() == 1 ? 30 : 1);
    over = true;
    writer.join();
    interrupter.join();
    return counter(web_.slot, direction, reason).packets - before;
  }

  cpu_set_t all_{};
  std::vector<int> cpus_;
  grantd_endpoint web_{};
};

TEST_F(Reuse, OfAFlowThatIsRefusedForOneThatIsNot) {
  const std::uint16_t port = fresh_port();
  expect(from_guest(frame_out(kWeb4, kOpen4, kTcp, tcp(port, 443, kSyn))), GRANTD_REASON_NEW_FLOW);
  const auto refused = flow_of(port);
  const auto rules = node().maps().policy.find(policy_id("slow")).value()->rules_id;
  const auto before = republish([&](grantd_policy& policy) { policy.rules_id = rules; });
  auto admitted = begun_by_bob();
  const FlowTable table = flows();
  std::uint64_t begun = 0;
  const auto look = [&] {
    grantd_flow flow{};
    if (bpf_map_lookup_elem(table.raw().fd(), &refused.first, &flow) == 0) begun++;
  };
  const Bytes out = frame_out(kWeb4, kOpen4, kTcp, tcp(port, 443, kAck)),
              error = frame_in("198.18.0.1", kWeb4, kIcmp4,
                               icmp(3, 1, 0, ipv4({kWeb4, kOpen4, kTcp, 0, 0, {}}, tcp(port, 443, kAck))));
  for (const std::uint64_t policy : {policy_id(), before}) {
    admitted.second.policy_id = policy;
    admitted.second.seal = seal(admitted.first, admitted.second);
    EXPECT_EQ(race(table.raw().fd(), refused, admitted, Hook::FromGuest, {out}, GRANTD_REASON_ESTABLISHED, look), 0U);
    EXPECT_EQ(begun, 0U) << "judged again by another's record, it is admitted for good";
  }
  admitted.second.policy_id = policy_id();
  admitted.second.seal = seal(admitted.first, admitted.second);
  EXPECT_EQ(race(table.raw().fd(), refused, admitted, Hook::ToGuest, {error}, GRANTD_REASON_ICMP_ERROR), 0U);
  restore(before);
}

TEST_F(Reuse, LeavesTheNextFlowItsLimit) {
  const auto begun = [&] {
    const std::uint16_t port = fresh_port();
    expect(from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(port, 443, kSyn))), GRANTD_REASON_NEW_FLOW);
    return flow_of(port);
  };
  const auto ends = begun();
  auto limited = begun();
  limited.second.flags |= GRANTD_FLOW_LIMITED_EGRESS;
  limited.second.seal = seal(limited.first, limited.second);
  const FlowTable table = flows();
  std::uint64_t freed = 0;
  const auto look = [&] {
    grantd_flow flow{};
    if (bpf_map_lookup_elem(table.raw().fd(), &limited.first, &flow) == 0)
      freed += !(flow.flags & GRANTD_FLOW_LIMITED_EGRESS);
  };
  std::vector<Bytes> frames;  // it is ended and begun again
  for (const std::uint8_t flags : {kFin, kSyn})
    frames.push_back(frame_out(kWeb4, kBob4, kTcp, tcp(ends.first.local_port, 443, flags)));
  EXPECT_GT(race(table.raw().fd(), ends, limited, Hook::FromGuest, frames, GRANTD_REASON_ESTABLISHED, look), 0U);
  EXPECT_EQ(freed, 0U);
}

TEST_F(Reuse, OfAFragmentThatNothingFollowsForOneThatIsFollowed) {
  const FragmentTable table = *node().maps().fragment_table(web_.slot).value();
  const auto fragment = [&](std::uint16_t id, std::uint16_t offset, const Bytes& payload) {
    return ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, kTcp, id, offset, {}}, payload));
  };
  const auto first = [&] {
    const std::uint16_t id = fresh_port();
    expect(from_guest(fragment(id, 0x2000, tcp(id, 80, kSyn, 12))), GRANTD_REASON_NEW_FLOW);
    return record(table, [&](const grantd_frag_key& key) { return key.id == id; });
  };
  auto orphaned = first();
  const auto followed = first();
  orphaned.second.policy_id = 1;
  orphaned.second.seal = seal(orphaned.first, orphaned.second);
  const Bytes later = fragment(static_cast<std::uint16_t>(orphaned.first.id), 4, zeros(16));
  EXPECT_EQ(race(table.raw().fd(), orphaned, followed, Hook::FromGuest, {later}, GRANTD_REASON_FRAGMENT), 0U);
}

}  // namespace
}  // namespace grantd::prog
