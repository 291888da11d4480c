// What the pinned maps say, as plain values: grantctl and the metrics both tell their story from
// one of these, with no agent running.
#pragma once

#include "maps/abi/about.h"
#include "maps/abi/bound.h"
#include "maps/abi/bucket.h"
#include "maps/abi/counter.h"
#include "maps/abi/endpoint.h"
#include "maps/abi/flow.h"
#include "maps/abi/identity.h"
#include "maps/abi/policy.h"
#include "maps/abi/queue.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

// Both clocks at one moment.
struct Clock {
  std::uint64_t boot_ns = 0;  // CLOCK_BOOTTIME, as the datapath keeps time
  std::int64_t wall_ns = 0;   // Unix time

  std::int64_t wall_of(std::uint64_t boot_time_ns) const {  // Unix nanoseconds of a boot time
    return wall_ns + static_cast<std::int64_t>(boot_time_ns - boot_ns);
  }
};

// One bucket, with what CPUs have taken from it and not used yet.
struct BucketState {
  grantd_bucket bucket{};
  std::uint64_t credit_bytes = 0;
};

// What a guest of a limited Grant sent or received, and what waits of it.
struct UsageState {
  grantd_usage usage{};
  std::optional<std::uint64_t> waiting_bytes = 0;  // nothing where the kernel did not tell of its class
  // What went into the queue and neither waits nor came back: no more than what is lost, and less by what went through
  // while it was read. What waited when the limit was taken away or the Grant ended is among it. Nothing where packets
  // may have been under way, or what waits is not known. LostBytes makes a counter of it.
  std::optional<std::uint64_t> lost_bytes;
};

struct FlowEntry {
  std::uint32_t slot = 0;
  grantd_flow_key key{};
  grantd_flow flow{};
};

struct MapFill {
  std::uint64_t entries = 0;
  std::uint64_t max_entries = 0;
};

struct Snapshot {
  Clock clock;
  grantd_node node{};
  std::array<grantd_bound, GRANTD_BOUNDS> bounds{};  // by grantd_bound_kind
  std::map<std::uint32_t, std::uint64_t> published;  // slot -> policy_id in force; quarantine is absent
  std::map<std::uint64_t, grantd_policy> policies;
  std::map<std::uint32_t, grantd_slotname> slot_names;
  std::map<std::uint32_t, grantd_idname> identity_names;
  std::map<std::uint32_t, grantd_guest> guests;          // by endpoint_id
  std::map<std::uint32_t, grantd_endpoint> endpoints;    // by ifindex
  std::map<std::uint64_t, grantd_endpoint> host_guests;  // by cgroup id
  std::map<std::uint32_t, grantd_uplink> uplinks;        // by ifindex
  // By slot, GRANTD_COUNTERS each; slots without a table are absent.
  std::map<std::uint32_t, std::vector<grantd_counter>> counters;
  std::map<std::uint32_t, std::array<BucketState, GRANTD_DIRECTIONS>> buckets;  // by slot
  grantd_shaper shaper{};
  std::map<std::uint32_t, std::array<UsageState, GRANTD_DIRECTIONS>> usage;     // by endpoint_id; of limited Grants
  std::map<std::uint32_t, std::array<grantd_delay, GRANTD_DIRECTIONS>> delays;  // by slot, of the policy in force
  std::vector<FlowEntry> flows;
  std::map<std::string, MapFill> fills;  // by the map's name; tables of slots are added up
};

// The policy in force in a slot; nullptr in quarantine, and where its record is missing.
const grantd_policy* policy_in_force(const Snapshot& snapshot, std::uint32_t slot);

// What the datapath would say of any packet of this slot, before it looks at the packet:
// ESTABLISHED (nothing against it), QUARANTINE, POLICY_MISSING, NOT_YET_VALID, EXPIRED, REVOKED.
grantd_reason standing(const Snapshot& snapshot, std::uint32_t slot);

// Guests' interfaces of which it says anything else than ESTABLISHED.
std::size_t quarantined_endpoints(const Snapshot& snapshot);

// The phase that the Grant of this slot is in by the datapath's clock, which may be ahead of what was compiled last.
grantd_phase phase_now(const Snapshot& snapshot, std::uint32_t slot, const grantd_slotname& name);
const char* phase_name(grantd_phase phase);  // "Active"

// Bytes in the bucket now; limit.rate_bps is not 0.
std::uint64_t bucket_level_bytes(const BucketState& state, const grantd_limit& limit, std::uint64_t grant_epoch,
                                 std::uint64_t boot_now_ns);

// Nothing where either is not known.
inline std::optional<std::uint64_t> known_sum(const std::optional<std::uint64_t>& one,
                                              const std::optional<std::uint64_t>& other) {
  return one && other ? std::optional(*one + *other) : std::nullopt;
}

// Names for people: "(quarantine)" for slot 0, "(slot N)" and the like for what has no name.
std::string grant_name(const Snapshot& snapshot, std::uint32_t slot);
std::string guest_name(const Snapshot& snapshot, std::uint32_t endpoint_id);
std::string identity_name(const Snapshot& snapshot, std::uint32_t identity);

const char* bound_name(std::uint32_t kind);                 // "realm_prefixes"
const char* direction_name(std::uint32_t direction);        // "egress"
const char* uplink_class_name(std::uint32_t uplink_class);  // "tailnet"
const char* reason_label(std::uint32_t reason);             // "" for a number without a reason
const char* reason_sentence(std::uint32_t reason);
bool reason_passes(std::uint32_t reason);
const char* shaper_mode_name(std::uint32_t mode);  // "htb"

}  // namespace grantd
