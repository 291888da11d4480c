// Where the cgroups of guests are, by the paths that Workloads name and a kubelet makes.
#pragma once

#include "agent/compile/node_facts.h"
#include "crd-sync/resources.h"

#include <vector>

namespace grantd {

// Sets cgroup_ids and pod_cgroups of `node` for these guests. False: a pod on the host network has none that is found.
bool find_cgroups(const std::vector<Workload>& guests, NodeFacts& node);

}  // namespace grantd
