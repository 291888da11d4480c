// The number by which the network namespace of the caller knows another one.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <netlink/socket.h>

namespace grantd {

inline constexpr int kNoNetnsId = -1;  // NETNSA_NSID_NOT_ASSIGNED

// kNoNetnsId where it has none.
Result<int> netns_id(nl_sock* socket, int netns_fd);
// Gives it one where it has none.
Result<int> name_netns(nl_sock* socket, int netns_fd);
// The one that the caller's knows by this number, among those under /run/netns and those of processes; ENOENT where
// none of them is it.
Result<Descriptor> find_netns(nl_sock* socket, int id);

}  // namespace grantd
