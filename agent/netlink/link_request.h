// A request about an interface.
#pragma once

#include "agent/netlink/netlink.h"

#include <linux/rtnetlink.h>

#include <cstdint>

namespace grantd {

// ifindex 0: it is named by an attribute. `set` of the flags in `mask` (IFF_UP, ...). Null where there is no memory.
inline NetlinkMessage link_request(int type, int flags, std::uint32_t ifindex, unsigned set = 0, unsigned mask = 0) {
  ifinfomsg header{};
  header.ifi_index = static_cast<int>(ifindex);
  header.ifi_flags = set;
  header.ifi_change = mask;
  NetlinkMessage message(nlmsg_alloc_simple(type, flags));
  if (message && nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0) message.reset();
  return message;
}

}  // namespace grantd
