#include "agent/guests/guest_cgroups.h"

#include "agent/attach/cgroups.h"
#include "agent/guests/pod_cgroup.h"

namespace grantd {

bool find_cgroups(const std::vector<Workload>& guests, NodeFacts& node) {
  node.cgroup_ids.clear();
  node.pod_cgroups.clear();
  bool all = true;
  for (const Workload& guest : guests) {
    if (!guest.cgroup.empty())
      if (const auto id = cgroup_id(guest.cgroup)) node.cgroup_ids[guest.cgroup] = *id;
    if (!guest.pod || !guest.pod->host_network) continue;
    for (const std::string& path : pod_cgroup_paths(guest.pod->node_uid, guest.pod->qos))
      if (const auto id = cgroup_id(path)) node.pod_cgroups[guest.pod->uid] = *id;
    all &= node.pod_cgroups.contains(guest.pod->uid);
  }
  return all;
}

}  // namespace grantd
