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

}  // namespace grantd
