// A request about a qdisc or a class of an interface.
#pragma once

#include "agent/netlink/netlink.h"

#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include <cstdint>

namespace grantd {

// Null where there is no memory.
inline NetlinkMessage traffic_request(int type, int flags, std::uint32_t ifindex, std::uint32_t parent,
                                      std::uint32_t handle) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = parent;
  header.tcm_handle = handle;
  NetlinkMessage message(nlmsg_alloc_simple(type, flags));
  if (message && nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0) message.reset();
  return message;
}

}  // namespace grantd
