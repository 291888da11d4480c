// The addresses of an interface in another network namespace, asked from this one.
#pragma once

#include "agent/netlink/netlink.h"
#include "maps/address.h"
#include "maps/result.h"

#include <cstdint>
#include <vector>

namespace grantd {

// A socket whose dumps are of the network namespace and interface that they are asked for.
Result<NetlinkSocket> connect_strict_netlink();

// In the network namespace of that number; those of the link alone (fe80::/10) are left out. `socket` is a strict one.
Result<std::vector<IpAddress>> netns_addresses(nl_sock* socket, int netns_id, std::uint32_t ifindex);

}  // namespace grantd
