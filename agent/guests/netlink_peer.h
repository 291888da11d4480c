// Questions to the kernel about other network namespaces, asked from this one: no right beyond NET_ADMIN is needed.
#pragma once

#include "agent/guests/match.h"
#include "agent/netlink/netlink.h"

namespace grantd {

class NetlinkPeer final : public PeerKernel {
 public:
  static Result<NetlinkPeer> open();
  Result<int> netns_id(const std::string& path) override;
  Result<std::vector<IpAddress>> addresses(int netns_id, std::uint32_t ifindex) override;

 private:
  // After an answer that did not come one that is late would be taken for the next one's; and libnl counts a question
  // that was not sent.
  template <typename Value>
  Result<Value> with_fresh_socket(Result<Value> answer);

  explicit NetlinkPeer(NetlinkSocket socket) : socket_(std::move(socket)) {}
  NetlinkSocket socket_;
};

}  // namespace grantd
