// libnl's objects with one owner, and one request with its whole answer.
#pragma once

#include "maps/result.h"

#include <netlink/attr.h>
#include <netlink/cache.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

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
// was listed has changed meanwhile), ENOMEM and EAGAIN (to be asked again), EPROTONOSUPPORT, or 0 for all others.
Error netlink_error(const std::string& what, int code);

Error no_netlink_memory();

// Bound to the protocol in the network namespace of the caller.
Result<NetlinkSocket> connect_netlink(int protocol = NETLINK_ROUTE);

// Sends a request (NLM_F_DUMP among the flags, or not), hands every message of the answer to `take`,
// and returns when the answer is complete.
Result<void> ask_netlink(nl_sock* socket, nl_msg* request, const std::function<void(nlmsghdr*)>& take);

// Of an attribute, whether or not it ends with a zero; "" where there is none.
std::string attribute_text(const nlattr* attribute);

// A socket that hears of what the kernel tells without being asked; for reads that do not wait.
Result<NetlinkSocket> listen_to_netlink(int protocol, const std::vector<int>& groups);
// Hands every message that has come in to `take`. True where some were lost, so that anything may have changed.
bool drain_netlink(nl_sock* socket, const std::function<void(nlmsghdr*)>& take);

}  // namespace grantd
