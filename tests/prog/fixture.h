// Packets through the programs themselves, by BPF_PROG_TEST_RUN, on maps that the agent's own compile, plan
// and apply have filled.
#pragma once

#include "agent/ctl/explain/dry_run.h"
#include "tests/kernel/private_node.h"
#include "tests/prog/packet.h"
#include "tests/prog/seal.h"

#include <gtest/gtest.h>

#include <linux/bpf.h>
#include <functional>
#include <memory>
#include <string>

namespace grantd::prog {

// Two guests of Grant bob, web (10.20.0.2, fd00:20::2) and db (10.20.0.3, fd00:20::3); far (10.20.0.7) of Grant
// other, whose grantee is carol; late (10.20.0.4) of a Grant that has ended; early (10.20.0.6) of one that has
// not begun; orphan (10.20.0.5) in quarantine; slow (10.20.0.8, fd00:20::8) of Grant slow: 8 Mbit/s, a burst of
// 128 KiB, both ways.
// Realms: bob 192.0.2.0/25 and 2001:db8:b0b::/48 (lan), 100.64.7.0/24 (tailnet); alice 192.0.2.128/25 and
// 2001:db8:a11c::/48 (lan); carol 203.0.113.0/25 and 2001:db8:ca01::/48 (lan).
// Destinations of Grant bob: see kDestinations in fixture.cc.
inline constexpr const char *kWeb4 = "10.20.0.2", *kWeb6 = "fd00:20::2", *kDb4 = "10.20.0.3", *kDb6 = "fd00:20::3",
                            *kBob4 = "192.0.2.10", *kBob6 = "2001:db8:b0b::10", *kAlice4 = "192.0.2.140",
                            *kAlice6 = "2001:db8:a11c::10", *kCarol4 = "203.0.113.10", *kCarol6 = "2001:db8:ca01::10",
                            *kOpen4 = "198.51.100.7", *kOpen6 = "2001:db8:0be::7", *kStranger4 = "203.0.113.200",
                            *kNode4 = "198.51.100.200";

struct Context {
  std::uint32_t mark = 0;
  std::uint32_t ingress_ifindex = 0;
  std::uint32_t gso_size = 0, gso_segs = 0;
};

struct Sent {
  bool passes = false;
  grantd_reason reason = GRANTD_REASON_FELL_THROUGH;
  std::uint32_t mark = 0;
  std::uint32_t slot = 0;
};
std::ostream& operator<<(std::ostream& out, const Sent& sent);

// All suites share a node: what takes the time is the way of its programs through the verifier.
class Prog : public testing::Test {
 protected:
  static void SetUpTestSuite();
  static PrivateNode& node() { return *node_; }

  // Through the dry run first, which says why; then through the programs, which must agree and must have
  // counted the packet under that reason.
  Sent from_guest(const Bytes& frame, const std::string& guest = "web", const Context& context = {});
  // As from the realm's or Grant's identity; "" is nobody, "local" this node itself.
  Sent to_guest(const Bytes& frame, const std::string& identity, const std::string& guest = "web",
                Context context = {});
  bool passes_uplink(const Bytes& frame, const std::string& uplink);
  // The mark afterwards, of a packet that must pass.
  std::uint32_t from_uplink(const Bytes& frame, const std::string& uplink, std::uint32_t mark = 0);

  // The program alone, with any context: what it answers, and the context afterwards.
  struct Answer {
    int verdict = 0;
    __sk_buff context{};
  };
  Answer ask(Hook hook, const Bytes& frame, const __sk_buff& context, std::uint32_t repeat = 1);
  // Calls `act` while the clock of the last tick says `now_ns`, on one CPU; false where the next tick came in between.
  // What is held to the exact clock goes by that all the same.
  bool try_at(std::uint64_t now_ns, const std::function<void()>& act);
  // The same until no tick comes in between, each time with `prepare` before.
  void at(std::uint64_t now_ns, const std::function<void()>& prepare, const std::function<void()>& act);
  // What the dry run says of a packet.
  grantd_explanation explain(Hook hook, const Bytes& frame, const std::string& guest, const Context& context = {});
  // The program alone: verdict and mark, without asking why. `repeat` packets in a row.
  Sent run(Hook hook, const Bytes& frame, std::uint32_t ifindex, const Context& context, std::uint32_t repeat = 1);
  std::uint32_t interface_of(const std::string& guest);
  std::uint32_t slot_of(const std::string& grant);
  std::uint32_t identity_of(const std::string& name);  // of a realm or Grant
  std::uint32_t stamp_of(const std::string& name);     // the mark that says so
  grantd_counter counter(std::uint32_t slot, grantd_direction direction, grantd_reason reason);
  std::uint64_t policy_id(const std::string& grant = "bob") {
    return node().maps().grant.find(slot_of(grant)).value()->policy_id;
  }
  // The Grant's policy under a new id, changed by `change`. Returns the id before.
  template <typename Change>
  std::uint64_t republish(Change change, const std::string& grant = "bob") {
    const std::uint64_t before = policy_id(grant);
    grantd_policy policy = *node().maps().policy.find(before).value();
    change(policy);
    const std::uint64_t after = next_policy_++;
    EXPECT_TRUE(node().maps().policy.put(after, policy).ok());
    publish(after, grant);
    return before;
  }
  void publish(std::uint64_t policy_id, const std::string& grant) {
    node().datapath().publish(slot_of(grant), policy_id);
    EXPECT_TRUE(node().datapath().settle().ok());
  }
  void restore(std::uint64_t policy_id, const std::string& grant = "bob") { publish(policy_id, grant); }
  grantd_endpoint endpoint_of(const std::string& guest) {
    return *node().maps().endpoint.find(interface_of(guest)).value();
  }
  // Of a record that a test changes.
  template <typename Key, typename Record>
  std::uint64_t seal(const Key& key, const Record& record) {
    return seal_of(seal_numbers(node().maps().seal.find(0).value()->secret), key, record);
  }
  void put_endpoint(const grantd_endpoint& endpoint) {
    ASSERT_TRUE(node().maps().endpoint.put(endpoint.ifindex, endpoint).ok());
  }

  // A source port that no other flow of this run has.
  static std::uint16_t fresh_port();

 private:
  Sent send(Hook hook, const Bytes& frame, std::uint32_t ifindex, const Context& context);

  struct TakeDown : testing::Environment {
    void TearDown() override;
  };

  static std::unique_ptr<PrivateNode> node_;
  static std::unique_ptr<DryRun> dry_run_;
  static testing::Environment* const take_down_;
  static inline std::uint64_t next_policy_ = 1'000'000;
};

// Asserts verdict and reason at once.
void expect(const Sent& sent, grantd_reason reason, const std::string& what = "");

}  // namespace grantd::prog
