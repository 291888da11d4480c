// Guests on other nodes: whose their addresses are, as far as a guest of this node may meet them.
#pragma once

#include "agent/compile/choose_grant.h"
#include "agent/compile/node_facts.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

// Address -> the Grant of the guest that has it, where that is one of `here`. Outside of the pod ranges nobody is
// believed, nor where two guests of different Grants have one address; both are told in `problems`.
std::map<IpAddress, std::string> guests_elsewhere(const std::vector<Workload>& pods, const GrantChoice& choice,
                                                  const std::set<std::string>& here, const NodeFacts& node,
                                                  std::vector<Problem>& problems);

// Each address is known as a destination and on overlays.
inline constexpr std::size_t kPrefixesOfGuestElsewhere = 2;

// Leaves out all guests elsewhere of those Grants that have the most, until no more than `most` addresses are left: who
// makes a crowd is the one whose guests are nobody here. Returns how many it left out.
std::size_t leave_out_crowds(std::size_t most, std::map<IpAddress, std::string>& owners,
                             std::vector<Problem>& problems);

}  // namespace grantd
