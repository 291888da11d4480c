#include "agent/marks/read_marks.h"
#include "agent/netlink/netlink.h"

#include <netlink/route/rule.h>
#include <sys/socket.h>

namespace grantd {

Result<void> read_routing_marks(MarkFacts& facts) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  nl_cache* raw = nullptr;
  if (const int code = rtnl_rule_alloc_cache(socket.value().get(), AF_UNSPEC, &raw); code < 0)
    return netlink_error("cannot list policy routing rules", code);
  const NetlinkCache rules(raw);
  for (nl_object* each = nl_cache_get_first(rules.get()); each; each = nl_cache_get_next(each)) {
    auto* rule = reinterpret_cast<rtnl_rule*>(each);
    const int family = rtnl_rule_get_family(rule);
    if (family != AF_INET && family != AF_INET6) continue;  // of multicast routers
    const std::uint32_t mask = rtnl_rule_get_mask(rule);
    facts.add({"policy routing rule " + std::to_string(rtnl_rule_get_prio(rule)) +
                   (family == AF_INET ? " (IPv4)" : " (IPv6)"),
               MarkAction::Match, mask, rtnl_rule_get_mark(rule) & mask});
  }
  return {};
}

}  // namespace grantd
