// libnl's objects with one owner, and one request with its whole answer.
#pragma once

#include "maps/result.h"

#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <functional>
#include <memory>
#include <string>

namespace grantd {

template <auto release>
struct NetlinkDeleter {
  template <typename Object>
  void operator()(Object* object) const {
    release(object);
  }
};
using NetlinkSocket = std::unique_ptr<nl_sock, NetlinkDeleter<nl_socket_free>>;
using NetlinkCache = std::unique_ptr<nl_cache, NetlinkDeleter<nl_cache_free>>;
using NetlinkMessage = std::unique_ptr<nl_msg, NetlinkDeleter<nlmsg_free>>;

// `code` as libnl returns it: negative. error_number: ENODEV, ENOENT, EEXIST, EINVAL, EINTR (what
// was listed has changed meanwhile), ENOMEM and EAGAIN (to be asked again), or 0 for all others.
Error netlink_error(const std::string& what, int code);

Error no_netlink_memory();

// Bound to the protocol in the network namespace of the caller.
Result<NetlinkSocket> connect_netlink(int protocol = NETLINK_ROUTE);

// Sends a request (NLM_F_DUMP among the flags, or not), hands every message of the answer to `take`,
// and returns when the answer is complete.
Result<void> ask_netlink(nl_sock* socket, nl_msg* request, const std::function<void(nlmsghdr*)>& take);

}  // namespace grantd
