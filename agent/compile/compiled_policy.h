// The desired state as this node is to enforce it, still by name: plan gives the numbers.
#pragma once

#include "crd-sync/desired_state.h"
#include "crd-sync/shared_list.h"
#include "maps/abi/about.h"
#include "maps/abi/bound.h"
#include "maps/abi/identity.h"
#include "maps/abi/limits.h"
#include "maps/abi/reasons.h"

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

// Boot-time nanoseconds (CLOCK_BOOTTIME), as the datapath compares them.
using BootNanoseconds = std::uint64_t;
inline constexpr BootNanoseconds kAtOnce = 1;  // before all that is to come; 0 would mean "not bounded" to a reader

// The limits of this node, their use and what they refuse, by grantd_bound_kind.
using Bounds = std::array<grantd_bound, GRANTD_BOUNDS>;

// An identity by name. REALM: the realm's name; GRANT: NAMESPACE/NAME; LOCAL_NODE: "". WAS_REALM, WAS_GRANT: the same
// names; their number until they lost an address, which is nobody's now.
struct IdentityName {
  enum class Kind : std::uint8_t { Nobody = 0, Realm = 1, Grant = 2, LocalNode = 3, WasRealm = 4, WasGrant = 5 };
  Kind kind = Kind::Nobody;
  std::string name;
  auto operator<=>(const IdentityName&) const = default;
};

struct CompiledRange {
  PortRange range;
  std::uint16_t source = 0;  // index into CompiledGrant::sources plus one; 0: a default of the design
  auto operator<=>(const CompiledRange&) const = default;
};

// Ranges are closed under rule 8: merged with what wider prefixes open.
struct CompiledRule {
  IpPrefix prefix;
  bool protected_range = false;
  std::vector<CompiledRange> ranges;  // empty: a hole in a wider prefix
  auto operator<=>(const CompiledRule&) const = default;
};

struct CompiledIdentityRule {
  IdentityName identity;
  grantd_direction direction = GRANTD_EGRESS;
  std::vector<CompiledRange> ranges;
  auto operator<=>(const CompiledIdentityRule&) const = default;
};

struct CompiledLimit {
  std::uint64_t rate_bps = 0;  // 0: unlimited
  std::uint64_t burst_bytes = 0;
  auto operator<=>(const CompiledLimit&) const = default;
};

struct CompiledSource {  // what grantd_source holds
  std::string text;
  SourcePosition position;
};

struct CompiledGrant {
  std::string key;  // NAMESPACE/NAME
  std::string grantor, grantee;
  grantd_phase phase = GRANTD_PHASE_PENDING;
  BootNanoseconds not_before = 0;
  BootNanoseconds not_after = ~0ULL;
  grantd_reason end_reason = GRANTD_REASON_EXPIRED;
  CompiledLimit limit[GRANTD_DIRECTIONS];
  std::vector<CompiledRule> rules;                   // egress, sorted by prefix
  std::vector<CompiledIdentityRule> identity_rules;  // sorted
  SharedList<CompiledSource> sources;
  std::size_t destinations = 0;  // entries of allowedDestinations that open something
  std::optional<WallTime> valid_from, valid_until;
  std::string quarantine;     // why nothing is published for it, "" where something is
  Cause cause = Cause::None;  // of that
  SourcePosition position;
};

// A Grant that compile refused. Its guests keep the policy in force, or are quarantined; what it says of its end holds
// all the same where that is sooner.
struct RefusedGrant {
  std::string key;
  std::string why;
  bool revoked = false;
  BootNanoseconds not_after = ~0ULL;
  grantd_reason end_reason = GRANTD_REASON_EXPIRED;
  Problem problem = {};  // what CompiledPolicy::problems says of it; `why` is that without its place
};

struct CompiledPrefix {
  // One entry of grantd_identity: class 0 answers for destinations, the others for senders.
  std::uint8_t uplink_class = 0;
  IpPrefix prefix;
  IdentityName identity;
  auto operator<=>(const CompiledPrefix&) const = default;
};

struct CompiledEndpoint {
  std::string guest;      // a Workload's name, or NAMESPACE/NAME of a pod
  std::string uid;        // of the pod; "" for a Workload. Another uid is another guest
  std::string interface;  // "" on the host network
  std::uint32_t ifindex = 0;
  bool layer3 = false;
  MacAddress mac;
  std::vector<IpAddress> addresses;  // both families, no link-local
  IpAddress link_local;              // IPv6; :: where layer3
  // IPv6 addresses of the host's side of the link and of the bridge it belongs to, link-local ones first. Of more than
  // GRANTD_GATEWAYS_PER_ENDPOINT the last are left out.
  std::vector<IpAddress> gateways;
  std::uint64_t cgroup_id = 0;  // 0: none
  bool host_network = false;
  std::string grant;            // key of the Grant; "" for quarantine
  std::string quarantine;       // why, where grant is ""
  Cause cause = Cause::None;    // of that
  bool without_record = false;  // no room for it: attached, and closed for lack of a record
  SourcePosition position;
};

// A guest that runs, and of which this node has nothing that it could hold.
struct UnheldGuest {
  std::string guest, grant;  // as of an endpoint
  std::string why;           // "runs on the host's network, ..."
  Cause cause = Cause::None;
};

struct CompiledUplink {
  std::string interface;
  std::uint32_t ifindex = 0;
  std::uint8_t uplink_class = 0;  // enum grantd_uplink_class, never DESTINATION
  bool layer3 = false;
  bool tunnel = false;  // what comes out of it was inside of other packets
};

struct CompiledPolicy {
  std::vector<CompiledGrant> grants;                       // sorted by key
  std::vector<RefusedGrant> refused;                       // sorted by key
  std::vector<IpPrefix> protected_ranges;                  // of this node
  std::vector<CompiledPrefix> prefixes;                    // sorted
  bool prefixes_refused = false;                           // too many: those in force stay, but for the node's own
  std::vector<CompiledEndpoint> endpoints;                 // sorted by guest
  std::vector<UnheldGuest> unheld;                         // sorted by guest
  std::vector<CompiledUplink> uplinks;                     // sorted by interface
  std::uint32_t flows_per_table = GRANTD_FLOWS_PER_GRANT;  // of flow tables that are made now
  Bounds bounds{};
  // When the next Grant begins or ends, of all that are known: also one that governs nobody here may then.
  BootNanoseconds next_edge = ~0ULL;
  std::vector<Problem> problems;  // of the desired state, and what compile adds
};

}  // namespace grantd
