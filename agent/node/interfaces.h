// The interfaces of this network namespace, by netlink.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/netlink/netlink.h"
#include "maps/result.h"

#include <cstdint>
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace grantd {

// Whether packets may come out of it that were inside of others. `kind`: IFLA_INFO_KIND, "" for none; `header`:
// ARPHRD_*; `on_a_bus`: it is the interface of a device on a bus, so its frames come off a wire. A tap is a virtual
// machine's interface, a tun decapsulates. So does, or might, whatever has no L2 header; and Ethernet of no kind and no
// device, as L2TPv3 makes it (net/l2tp/l2tp_eth.c names its type in sysfs alone, and tells ethtool nothing). Taken for
// a tunnel that it is not, an interface only loses stamps that nobody put there.
bool is_tunnel(std::string_view kind, unsigned int header, bool on_a_bus);

// All interfaces with their addresses, in order of their index. For a pair (veth, netkit) the kernel tells
// the MAC address of the other end, in whatever network namespace that is.
Result<std::vector<InterfaceFact>> read_interfaces();

// Tells that interfaces, their addresses, what is delivered to this node (local_routes.h), what stands on clsact, or
// queues may have changed.
class InterfaceWatch {
 public:
  static Result<InterfaceWatch> open();
  int fd() const;  // readable when drain() has something to say; owned
  // Takes all messages. True where one of them is about an interface, an address, a local route, about a filter of
  // clsact or a qdisc that is gone, or about a filter that came to the first priority there, or where some were lost.
  // News of a bridge about its ports, and of radios, are none of these.
  bool drain();
  // Indices whose interface has ended, by what was drained; not where it went to another network namespace. Where some
  // were lost, not all.
  std::set<std::uint32_t> take_gone() { return std::exchange(gone_, {}); }

 private:
  std::set<std::uint32_t> gone_;
  NetlinkSocket socket_;
};

}  // namespace grantd
