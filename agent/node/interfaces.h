// The interfaces of this network namespace, by netlink.
#pragma once

#include "agent/compile/node_facts.h"
#include "maps/result.h"

#include <memory>
#include <vector>

struct nl_sock;

namespace grantd {

struct NetlinkSocketDeleter {
  void operator()(nl_sock* socket) const;
};
using NetlinkSocket = std::unique_ptr<nl_sock, NetlinkSocketDeleter>;

// All interfaces with their addresses, in order of their index. For a veth the kernel tells the MAC
// address of the other end, in whatever network namespace that is.
Result<std::vector<InterfaceFact>> read_interfaces();

// Tells that interfaces or their addresses may have changed.
class InterfaceWatch {
 public:
  static Result<InterfaceWatch> open();
  int fd() const;  // readable when drain() has something to say; owned
  // Takes all messages. True where one of them matters, or where some were lost.
  bool drain();

 private:
  NetlinkSocket socket_;
};

}  // namespace grantd
