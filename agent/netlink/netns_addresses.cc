#include "agent/netlink/netns_addresses.h"

#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <optional>

namespace grantd {

namespace {

std::optional<IpAddress> address_of(nlmsghdr* answer) {
  const auto* header = static_cast<ifaddrmsg*>(nlmsg_data(answer));
  nlattr* local = nlmsg_find_attr(answer, sizeof(ifaddrmsg), IFA_LOCAL);
  if (!local) local = nlmsg_find_attr(answer, sizeof(ifaddrmsg), IFA_ADDRESS);
  const bool version4 = header->ifa_family == AF_INET;
  if (!local || nla_len(local) != (version4 ? 4 : 16)) return std::nullopt;
  IpAddress address;
  address.family = version4 ? Family::IPv4 : Family::IPv6;
  std::memcpy(address.bytes.data(), nla_data(local), static_cast<std::size_t>(nla_len(local)));
  return address;
}

}  // namespace

Result<NetlinkSocket> connect_strict_netlink() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  // Without it the kernel does not look at which network namespace and interface a dump is to be of.
  const int on = 1;
  if (setsockopt(nl_socket_get_fd(socket.value().get()), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on)) != 0)
    return system_error("cannot make netlink strict", errno);
  return socket;
}

Result<std::vector<IpAddress>> netns_addresses(nl_sock* socket, int netns_id, std::uint32_t ifindex) {
  ifaddrmsg header{};
  header.ifa_index = ifindex;
  const NetlinkMessage request(nlmsg_alloc_simple(RTM_GETADDR, NLM_F_DUMP));
  if (!request || nlmsg_append(request.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
      nla_put_s32(request.get(), IFA_TARGET_NETNSID, netns_id) < 0)
    return no_netlink_memory();
  std::vector<IpAddress> all;
  const auto asked = ask_netlink(socket, request.get(), [&](nlmsghdr* answer) {
    if (answer->nlmsg_type != RTM_NEWADDR) return;
    const auto* about = static_cast<ifaddrmsg*>(nlmsg_data(answer));
    const auto address = address_of(answer);
    if (address && about->ifa_index == ifindex && !address->is_link_local()) all.push_back(*address);
  });
  if (!asked) return asked.error();
  return all;
}

}  // namespace grantd
