// What is written down on this node of one attachment of a pod, by whoever has made it. Nothing of it is believed
// before the kernel has confirmed it.
#pragma once

#include "agent/handover/cni_record.h"
#include "maps/address.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grantd {

struct PodRecord {
  std::string pod_namespace, pod_name;
  std::string pod_uid;                       // "" where the runtime tells none
  std::string netns;                         // path of the pod's network namespace
  std::vector<std::string> host_interfaces;  // one of them is the host's side; a bridge may be another
  std::uint32_t ifindex = 0;                 // of the host's side; 0: not written down
  std::vector<IpAddress> addresses;          // the pod's
  auto operator<=>(const PodRecord&) const = default;
};

PodRecord pod_record(const CniRecord& record);

}  // namespace grantd
