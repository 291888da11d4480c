#include "agent/node/local_routes.h"

#include "agent/netlink/netlink.h"

#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <set>

namespace grantd {

namespace {

bool every_node_has(const IpAddress& address) {
  const auto first = address.bytes[0];
  if (address.family == Family::IPv4) return first == 127;
  return first == 0xff || address.is_link_local() || address == IpAddress::parse("::1").value();
}

Result<void> read_family(nl_sock* socket, int family, std::set<IpPrefix>& all) {
  rtmsg header{};
  header.rtm_family = static_cast<unsigned char>(family);
  header.rtm_table = RT_TABLE_LOCAL;
  const NetlinkMessage request(nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_DUMP));
  if (!request || nlmsg_append(request.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0) return no_netlink_memory();
  auto asked = ask_netlink(socket, request.get(), [&](nlmsghdr* answer) {
    if (const auto prefix = local_prefix_of(answer)) all.insert(*prefix);
  });
  if (!asked && asked.error().error_number == ENOENT) return {};  // a namespace without any address has no such table
  return asked;
}

}  // namespace

std::optional<IpPrefix> local_prefix_of(nlmsghdr* route) {
  if ((route->nlmsg_type != RTM_NEWROUTE && route->nlmsg_type != RTM_DELROUTE) ||
      !nlmsg_valid_hdr(route, sizeof(rtmsg)))
    return std::nullopt;
  const auto* header = static_cast<rtmsg*>(nlmsg_data(route));
  if (header->rtm_type != RTN_LOCAL && header->rtm_type != RTN_BROADCAST && header->rtm_type != RTN_ANYCAST)
    return std::nullopt;
  if (header->rtm_table != RT_TABLE_LOCAL || (header->rtm_family != AF_INET && header->rtm_family != AF_INET6))
    return std::nullopt;
  IpPrefix prefix;
  prefix.address.family = header->rtm_family == AF_INET ? Family::IPv4 : Family::IPv6;
  prefix.length = header->rtm_dst_len;
  nlattr* destination = nlmsg_find_attr(route, sizeof(rtmsg), RTA_DST);
  if (destination && nla_len(destination) == (header->rtm_family == AF_INET ? 4 : 16))
    std::memcpy(prefix.address.bytes.data(), nla_data(destination), static_cast<std::size_t>(nla_len(destination)));
  else if (prefix.length != 0)
    return std::nullopt;
  if (every_node_has(prefix.address)) return std::nullopt;
  return prefix;
}

Result<std::vector<IpPrefix>> read_local_routes() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  // So that the kernel looks at the table that is asked for: a router's others are large.
  const int on = 1;
  if (setsockopt(nl_socket_get_fd(socket.value().get()), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) != 0)
    return Error{"netlink: cannot ask for one table", errno};
  std::set<IpPrefix> all;
  for (const int family : {AF_INET, AF_INET6})
    if (auto read = read_family(socket.value().get(), family, all); !read)
      return Error{"cannot list local routes: " + read.error().message, read.error().error_number};
  return std::vector<IpPrefix>(all.begin(), all.end());
}

}  // namespace grantd
