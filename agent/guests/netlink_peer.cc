#include "agent/guests/netlink_peer.h"

#include "agent/netlink/netns_addresses.h"
#include "agent/netlink/netns_id.h"
#include "maps/descriptor.h"

#include <fcntl.h>

#include <cerrno>

namespace grantd {

Result<NetlinkPeer> NetlinkPeer::open() {
  auto socket = connect_strict_netlink();
  if (!socket) return socket.error();
  return NetlinkPeer(std::move(socket).value());
}

template <typename Value>
Result<Value> NetlinkPeer::with_fresh_socket(Result<Value> answer) {
  if (!answer)
    if (auto fresh = connect_strict_netlink(); fresh) socket_ = std::move(fresh).value();
  return answer;
}

Result<int> NetlinkPeer::netns_id(const std::string& path) {
  const Descriptor netns(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!netns.valid()) return system_error("open", errno);
  return with_fresh_socket(grantd::netns_id(socket_.get(), netns.get()));
}

Result<std::vector<IpAddress>> NetlinkPeer::addresses(int netns_id, std::uint32_t ifindex) {
  return with_fresh_socket(netns_addresses(socket_.get(), netns_id, ifindex));
}

}  // namespace grantd
