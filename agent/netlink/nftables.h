// Messages of nftables (the kernel's net/netfilter/nf_tables_api.c).
#pragma once

#include "agent/netlink/netlink.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <array>
#include <cstddef>
#include <cstdint>

namespace grantd {

// A request of `type` (enum nf_tables_msg_types) about a family (NFPROTO_INET, ...; NFPROTO_UNSPEC: all of them). Null
// where there is no memory.
NetlinkMessage nftables_request(int type, std::uint8_t family, int flags = 0);

// Its attributes, by number. False where it is of another type, or cannot be read.
template <std::size_t size>
bool parse_nftables(nlmsghdr* message, int type, std::array<nlattr*, size>& attributes) {
  return message->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | type) && nlmsg_valid_hdr(message, sizeof(nfgenmsg)) &&
         nlmsg_parse(message, sizeof(nfgenmsg), attributes.data(), static_cast<int>(size) - 1, nullptr) >= 0;
}

}  // namespace grantd
