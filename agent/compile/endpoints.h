// Guests' attachments and the host's uplinks on this node.
#pragma once

#include "agent/compile/choose_grant.h"
#include "agent/compile/node_facts.h"

#include <set>
#include <string>
#include <vector>

namespace grantd {

// Workloads whose interface (or cgroup) is there, and each interface of a pod. `known_grants`: accepted or refused
// here; a workload of any other Grant is in quarantine. `choice`: for pods. What is wrong goes into `problems`.
std::vector<CompiledEndpoint> compile_endpoints(const std::vector<Workload>& workloads, const NodeFacts& node,
                                                const std::set<std::string>& known_grants, const GrantChoice& choice,
                                                std::vector<UnheldGuest>& unheld, std::vector<Problem>& problems);

// Interfaces that an uplink rule names, and tunnels that none names, as untrusted. Guests'
// interfaces are none.
std::vector<CompiledUplink> compile_uplinks(const NodeFacts& node, const std::vector<CompiledEndpoint>& endpoints,
                                            std::vector<Problem>& problems);

// fnmatch(3) without its dependence on locale: '*', '?' and everything else literally.
bool matches_glob(const std::string& glob, const std::string& text);

}  // namespace grantd
