// What the kernel delivers to this node itself, whatever interface has the address.
#pragma once

#include "maps/address.h"
#include "maps/result.h"

#include <optional>
#include <vector>

struct nlmsghdr;

namespace grantd {

// The prefix of a local, broadcast or anycast route (rtnetlink(7)); nothing for all others, and for those of
// loopback, link-local and multicast, which every node has.
std::optional<IpPrefix> local_prefix_of(nlmsghdr* route);

// All of them in the kernel's local table, in order.
Result<std::vector<IpPrefix>> read_local_routes();

}  // namespace grantd
