// The interfaces of this network namespace, by netlink.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/netlink/netlink.h"
#include "maps/result.h"

#include <vector>

namespace grantd {

// All interfaces with their addresses, in order of their index. For a pair (veth, netkit) the kernel tells
// the MAC address of the other end, in whatever network namespace that is.
Result<std::vector<InterfaceFact>> read_interfaces();

// Tells that interfaces, their addresses, what is delivered to this node (local_routes.h), what stands on clsact, or
// queues may have changed.
class InterfaceWatch {
 public:
  static Result<InterfaceWatch> open();
  int fd() const;  // readable when drain() has something to say; owned
  // Takes all messages. True where one of them is about an interface, an address, a local route, or about a filter of
  // clsact or a qdisc that is gone, or where some were lost. News of a bridge about its ports, and of radios, are
  // neither.
  bool drain();

 private:
  NetlinkSocket socket_;
};

}  // namespace grantd
