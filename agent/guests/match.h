// From records and what the kernel says to the interfaces of a pod. Pure, but for the questions to the kernel.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/guests/pod_record.h"
#include "maps/result.h"

#include <vector>

namespace grantd {

// What the kernel knows of other network namespaces.
class PeerKernel {
 public:
  virtual ~PeerKernel() = default;
  // What this network namespace calls the one at `path`; -1 where it has no name for it.
  virtual Result<int> netns_id(const std::string& path) = 0;
  // The addresses of an interface there, without link-local ones.
  virtual Result<std::vector<IpAddress>> addresses(int netns_id, std::uint32_t ifindex) = 0;
};

// `records`: all of one pod. Every interface whose other end is in the pod's network namespace is the pod's,
// whatever the records call it; one that is not as its record says carries a doubt. Where the network namespace cannot
// be opened, the interface that a record names is taken for the pod's, in doubt.
std::vector<PodInterface> match_pod(const std::vector<PodRecord>& records, const std::vector<InterfaceFact>& interfaces,
                                    PeerKernel& kernel);

}  // namespace grantd
