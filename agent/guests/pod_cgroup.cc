#include "agent/guests/pod_cgroup.h"

#include <algorithm>

namespace grantd {

std::vector<std::string> pod_cgroup_paths(const std::string& uid, GuestPod::Qos qos) {
  const std::string part = qos == GuestPod::Qos::Burstable    ? "burstable"
                           : qos == GuestPod::Qos::BestEffort ? "besteffort"
                                                              : "";
  // A dash stands between slices.
  std::string escaped = uid;
  std::replace(escaped.begin(), escaped.end(), '-', '_');
  if (part.empty()) return {"kubepods/pod" + uid, "kubepods.slice/kubepods-pod" + escaped + ".slice"};
  return {"kubepods/" + part + "/pod" + uid,
          "kubepods.slice/kubepods-" + part + ".slice/kubepods-" + part + "-pod" + escaped + ".slice"};
}

}  // namespace grantd
