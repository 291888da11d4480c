#include "agent/netlink/nftables.h"

namespace grantd {

NetlinkMessage nftables_request(int type, std::uint8_t family, int flags) {
  constexpr std::size_t kLongest = 64 << 10;  // a nested attribute is not longer
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  NetlinkMessage message(nlmsg_alloc_size(kLongest));
  if (!message) return message;
  if (!nlmsg_put(message.get(), 0, 0, NFNL_SUBSYS_NFTABLES << 8 | type, 0, NLM_F_REQUEST | flags) ||
      nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0)
    message.reset();
  return message;
}

}  // namespace grantd
