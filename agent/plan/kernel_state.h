// What the kernel holds of ours, as apply has read and written it. Only apply changes one.
#pragma once

#include "agent/compile/compiled_policy.h"
#include "agent/plan/attachment.h"
#include "maps/abi/bound.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/identity.h"
#include "maps/abi/policy.h"
#include "maps/abi/queue.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

// An entry of grantd_rule, and what of its value a plan asks for.
struct KnownRule {
  grantd_rule_key key;
  bool opens;     // something
  bool protects;  // it stands for a protected range
};

// The rules under one rules_id. Their values are never changed, so a digest stands for them.
struct RuleSet {
  std::uint64_t digest = 0;          // of keys without rules_id, and values; independent of order
  std::uint64_t sources_digest = 0;  // of texts and positions, which may change under one rules_id
  std::vector<KnownRule> rules;
  std::vector<grantd_idrule_key> identity_rules;
  std::vector<std::uint16_t> sources;
};

struct PrefixKey {
  std::uint8_t uplink_class = 0;  // enum grantd_uplink_class
  IpPrefix prefix;
  auto operator<=>(const PrefixKey&) const = default;
};

inline constexpr std::uint64_t kQueueTickNs = 64;       // in which the kernel keeps the times of a class
inline constexpr std::uint32_t kQueueStepBytes = 4096;  // in which the length of a queue is told; SFQ counts packets

// A class of the queues: what a Grant may send in one direction, or in it a guest.
struct QueueClass {
  std::uint32_t parent = 0;                       // minor number of the class that it is in; 0: of none
  std::uint64_t rate_bytes = 0, ceil_bytes = 0;   // a second: its own part, and the most that it may take
  std::uint64_t burst_ns = 0, ceil_burst_ns = 0;  // multiples of kQueueTickNs
  std::uint32_t quantum_bytes = 0;                // that it sends before the next one has its turn
  std::uint32_t queue_bytes = 0;                  // that may wait in it; 0: it holds other classes
  bool fair = false;                              // its flows take turns; else its packets go as they came
  auto operator<=>(const QueueClass&) const = default;
};

struct ShaperState {
  std::uint32_t queue_ifindex = 0, release_ifindex = 0;  // 0: no queues are there
  std::map<std::uint32_t, QueueClass> classes;           // by minor number
  bool fair_queues = false;                              // whether the kernel has what a fair class needs
};

struct KernelState {
  std::map<std::uint32_t, std::uint64_t> published;  // slot -> policy_id; slots in quarantine are absent
  std::map<std::uint64_t, grantd_policy> policies;
  std::map<std::uint32_t, RuleSet> rule_sets;
  std::map<std::uint32_t, grantd_endpoint> endpoints;    // by ifindex
  std::map<std::uint64_t, grantd_endpoint> host_guests;  // by cgroup id
  std::map<PrefixKey, std::uint32_t> prefixes;
  std::map<std::uint32_t, grantd_uplink> uplinks;  // by ifindex
  std::map<std::uint32_t, grantd_slotname> slot_names;
  std::map<std::uint32_t, IdentityName> identity_names;
  std::map<std::uint32_t, grantd_guest> guests;  // by endpoint_id
  // Slots that have flow, fragment and counter tables -> flows that the first one holds; 0 for slot 0.
  std::map<std::uint32_t, std::uint32_t> tables;
  std::set<Attachment> attachments;
  std::set<Attachment> behind;  // ours too, where somebody else's program stands before it
  ShaperState shaper;
  grantd_shaper shaper_record{};
  std::map<std::uint32_t, grantd_queue> queues;  // by endpoint_id
  std::set<std::uint32_t> devices;               // by ifindex: to which packets come back from a queue
  grantd_node node{};
  Bounds bounds{};
  // Policies that are not in force any more, since when. Forgotten when the agent restarts: then
  // the time counts anew.
  std::map<std::uint64_t, BootNanoseconds> retired_at;
  // The same of numbers of identities that nothing bears any more.
  std::map<std::uint32_t, BootNanoseconds> unused_since;
  // The same of slots with a policy in force that no guest is under.
  std::map<std::uint32_t, BootNanoseconds> without_guests_since;

  // Our programs stand on the guest's interface, whoever is before them; one that was made again has none.
  bool stands_on(std::uint32_t ifindex) const {
    return std::all_of(std::begin(kGuestHooks), std::end(kGuestHooks), [&](Hook hook) {
      return attachments.contains({hook, ifindex, 0}) || behind.contains({hook, ifindex, 0});
    });
  }
};

}  // namespace grantd
