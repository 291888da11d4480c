// What compile must know of this node and of time. Gathered by agent/node, never by compile.
#pragma once

#include "agent/compile/compiled_policy.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

struct InterfaceFact {
  std::string name;
  std::uint32_t ifindex = 0;
  bool layer3 = false;  // ARPHRD_NONE and the like: no L2 header
  bool loopback = false;
  std::uint32_t master = 0;            // ifindex of the bridge that it is a port of
  bool tunnel = false;                 // it may decapsulate (vxlan, wireguard, tun, ...)
  MacAddress mac;                      // of the host's end
  std::optional<MacAddress> peer_mac;  // of the guest's end of a veth, as the kernel tells it
  std::uint32_t peer_ifindex = 0;      // of that end in its own network namespace; 0: none
  int peer_netns_id = -1;              // what this network namespace calls that one; -1: it is this one, or has no name
  std::uint32_t peer_segments = 0;     // of one packet that the guest's end takes (gso_max_segs); 0: not told
  std::vector<IpAddress> link_local;   // of this interface and of the bridge it belongs to
  std::vector<IpAddress> addresses;    // global ones of this interface
  bool operator==(const InterfaceFact&) const = default;
};

// One attachment of a pod to this node, as a record names it and the kernel has confirmed it.
struct PodInterface {
  std::uint32_t ifindex = 0;
  std::vector<IpAddress> addresses;  // as the record says; no link-local ones
  std::string doubt;  // what the kernel says against it: it is the pod's, and stays closed; "" for nothing
  auto operator<=>(const PodInterface&) const = default;
};

struct UplinkRule {
  std::string interface_glob;  // fnmatch(3)
  UplinkClass uplink_class = UplinkClass::Lan;
};

// For which what is in force of a Grant stays after its last guest here has gone: a guest may make itself none and come
// back. No bucket takes as long to be full again (2^39 ns, nine minutes).
inline constexpr BootNanoseconds kKeptWithoutGuests = 600 * GRANTD_NS_PER_SECOND;
static_assert(kKeptWithoutGuests > 1ULL << 39);

// What a Grant holds of the node's limits.
struct HeldRoom {
  // At least as many as it has destinations, whose texts are kept too.
  std::size_t rules = 0;
  std::size_t flows = 0;                         // of its flow table; 0: it has none
  bool published = false;                        // a policy of it is in force
  BootNanoseconds without_guests_since = ~0ULL;  // of that one; ~0: it has some, or lost the last one just now
};

// What is in force already, and keeps its room before anything new is given any.
struct InForce {
  std::map<std::string, HeldRoom> grants;  // Grant key -> what it holds; those with a slot
  std::set<std::uint32_t> interfaces;      // by index, with an endpoint's record
  std::set<std::uint64_t> cgroups;         // of guests on the host network, with a record
  std::set<std::string> realms;            // with an identity
  std::size_t prefixes = 0;
};

struct NodeFacts {
  std::vector<InterfaceFact> interfaces;
  std::vector<IpPrefix> local_routes;  // local, broadcast and anycast ones: what the kernel delivers to this node
  std::vector<UplinkRule> uplink_rules;
  std::vector<IpPrefix> pod_cidrs, service_cidrs;
  std::map<std::string, std::uint64_t> cgroup_ids;                  // path as in Workload -> id; absent: no such cgroup
  std::map<std::string, std::vector<PodInterface>> pod_interfaces;  // uid -> those that were found
  std::set<std::string> unfound_lately;              // uids of pods that have none for so short that they may be ending
  std::map<std::string, std::uint64_t> pod_cgroups;  // uid -> id, of pods on the host network
  InForce in_force;
};

// The time that validity is reckoned with, and what the node has latched on disk.
struct TimeFacts {
  WallTime now;
  BootNanoseconds boot_now = 0;
  WallTime highest_seen;  // what has ended by then does not begin again
  bool trusted = true;    // false: unsynchronised or behind the highest time seen: dated Grants are quarantined
  std::map<std::string, WallTime> revoked_at;  // Grant key -> when this node first saw the revocation
  // Grant key -> earliest end of notice ever reckoned for the running revocation.
  std::map<std::string, WallTime> notice_ends;
  std::map<std::string, std::string> expired;  // Grant key -> spec_hash that expired here
};

// A Realm's prefix takes an entry for whose it is and one for each class of uplinks that it is believed on, and the
// node's guests need room beside Realms of GRANTD_MAX_PREFIXES.
constexpr std::size_t kPrefixEntries = 5 * std::size_t{GRANTD_MAX_PREFIXES};

// Settings, made smaller where the pinned maps hold less.
struct Limits {
  std::size_t grants = GRANTD_MAX_GRANTS;
  std::size_t endpoints = GRANTD_MAX_ENDPOINTS;
  std::size_t rules = GRANTD_MAX_RULES;
  std::size_t prefixes = kPrefixEntries;
  std::size_t identities = GRANTD_MAX_IDENTITIES;  // of Realms, of Grants, and this node's own
  std::size_t flows = GRANTD_MAX_FLOWS;            // of all flow tables together
  std::uint32_t flows_per_grant = GRANTD_FLOWS_PER_GRANT;
};

}  // namespace grantd
