// Where a kubelet puts a pod's cgroup. Pure.
#pragma once

#include "crd-sync/resources.h"

#include <string>
#include <vector>

namespace grantd {

// Below the root of cgroup v2: as the cgroupfs driver names it, and as the systemd driver does.
std::vector<std::string> pod_cgroup_paths(const std::string& uid, GuestPod::Qos qos);

}  // namespace grantd
