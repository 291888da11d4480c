// Whose address is whose: the entries of grantd_identity.
#pragma once

#include "agent/compile/node_facts.h"
#include "crd-sync/desired_state.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

// The addresses of realms on the uplink classes where they are believed, and as destinations; the
// guests' own addresses; those of guests `elsewhere` (address -> Grant), believed on overlays; and holes for this
// node's addresses and for what a narrower prefix takes out of a wider one, a refused realm's too. Prefixes that
// overlap the pod or service range, link-local or loopback are left out, each with an error in `problems`. Sorted.
std::vector<CompiledPrefix> realm_prefixes(const DesiredState& desired, const std::vector<CompiledEndpoint>& endpoints,
                                           const std::map<IpAddress, std::string>& elsewhere, const NodeFacts& node,
                                           std::vector<Problem>& problems);

// How many of the entries a Realm takes, be it in force or refused.
struct PrefixTaker {
  std::string object;  // Problem::object
  SourcePosition position;
  std::size_t entries = 0;
  std::size_t apart = 0;  // of these, what a refused version of it sets apart
};

// The Realm that takes the most of realm_prefixes(), nothing where none takes any. An entry that several would need is
// that of the one in force, or of the first.
std::optional<PrefixTaker> largest_taker(const DesiredState& desired, const std::vector<CompiledPrefix>& prefixes);

// The realm's classes, or the default for this prefix.
std::vector<UplinkClass> believed_on(const Realm& realm, const IpPrefix& prefix);

// What only an entry inside it opens: always_protected() and this node's ranges and addresses.
std::vector<IpPrefix> protected_ranges(const NodeFacts& node);
// This node's own global addresses, those that it answers to among broadcast and anycast ones, and its local
// routes. Sorted.
std::vector<IpPrefix> node_addresses(const NodeFacts& node);

}  // namespace grantd
