#include "agent/netlink/guest_link.h"

#include "agent/netlink/link_request.h"
#include "agent/netlink/netns_addresses.h"
#include "agent/netlink/netns_id.h"
#include "maps/descriptor.h"

#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace grantd {

namespace {

struct Link {
  std::string name, kind;
  std::uint32_t ifindex = 0, peer = 0;
  int peer_netns_id = kNoNetnsId;
  std::optional<MacAddress> mac;
};

Link describe(nlmsghdr* answer) {
  Link link;
  nlattr* attributes[IFLA_MAX + 1];
  if (nlmsg_parse(answer, sizeof(ifinfomsg), attributes, IFLA_MAX, nullptr) < 0) return link;
  link.ifindex = static_cast<std::uint32_t>(static_cast<ifinfomsg*>(nlmsg_data(answer))->ifi_index);
  if (attributes[IFLA_IFNAME]) link.name = nla_get_string(attributes[IFLA_IFNAME]);
  if (attributes[IFLA_LINK]) link.peer = nla_get_u32(attributes[IFLA_LINK]);
  if (attributes[IFLA_LINK_NETNSID]) link.peer_netns_id = nla_get_s32(attributes[IFLA_LINK_NETNSID]);
  if (MacAddress mac; attributes[IFLA_ADDRESS] && nla_len(attributes[IFLA_ADDRESS]) == 6) {
    std::memcpy(mac.bytes.data(), nla_data(attributes[IFLA_ADDRESS]), mac.bytes.size());
    link.mac = mac;
  }
  nlattr* info[IFLA_INFO_MAX + 1];
  if (attributes[IFLA_LINKINFO] && nla_parse_nested(info, IFLA_INFO_MAX, attributes[IFLA_LINKINFO], nullptr) >= 0 &&
      info[IFLA_INFO_KIND])
    link.kind = nla_get_string(info[IFLA_INFO_KIND]);
  return link;
}

// By name, or where that is "" by index; in the namespace of that number, or where that is kNoNetnsId in ours.
Result<Link> read_link(nl_sock* socket, int in_netns, const std::string& name, std::uint32_t ifindex) {
  const NetlinkMessage request = link_request(RTM_GETLINK, 0, ifindex);
  if (!request || (!name.empty() && nla_put_string(request.get(), IFLA_IFNAME, name.c_str()) < 0) ||
      (in_netns != kNoNetnsId && nla_put_s32(request.get(), IFLA_TARGET_NETNSID, in_netns) < 0))
    return no_netlink_memory();
  Link link;
  auto asked = ask_netlink(socket, request.get(), [&](nlmsghdr* answer) {
    if (answer->nlmsg_type == RTM_NEWLINK) link = describe(answer);
  });
  if (!asked) return asked.error();
  if (link.ifindex == 0) return Error{"no such interface", ENODEV};
  return link;
}

bool is_pair(const std::string& kind) { return kind == "veth" || kind == "netkit"; }

}  // namespace

Result<GuestLink> read_guest_link(const std::string& netns, const std::string& ifname) {
  const std::string what = "interface " + ifname + " of " + netns;
  const Descriptor there(open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there.valid()) return system_error(what + ": cannot open the network namespace", errno);
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto id = name_netns(socket.value().get(), there.get());
  if (!id) return Error{what + ": " + id.error().message, id.error().error_number};
  auto guest = read_link(socket.value().get(), id.value(), ifname, 0);
  if (!guest) return Error{what + ": " + guest.error().message, guest.error().error_number};
  if (!is_pair(guest.value().kind))
    return Error{what + ": is of kind '" + guest.value().kind +
                 "'; accepted: veth or netkit, which have a host's side"};
  auto host = read_link(socket.value().get(), kNoNetnsId, "", guest.value().peer);
  if (!host) return Error{what + ": its other side is not on this host: " + host.error().message, 0};
  // An index means something in one namespace only: the host's side must be the pair of this very interface.
  if (host.value().kind != guest.value().kind || host.value().peer != guest.value().ifindex ||
      host.value().peer_netns_id != id.value())
    return Error{what + ": its other side is not on this host: interface " + host.value().name + " is no pair of it"};
  return GuestLink{host.value().name, host.value().ifindex, guest.value().ifindex, guest.value().mac};
}

Result<std::vector<IpAddress>> read_guest_addresses(const std::string& netns, std::uint32_t guest_ifindex) {
  const Descriptor there(open(netns.c_str(), O_RDONLY | O_CLOEXEC));
  if (!there.valid()) return system_error(netns + ": cannot open the network namespace", errno);
  auto socket = connect_strict_netlink();
  if (!socket) return socket.error();
  auto id = name_netns(socket.value().get(), there.get());
  if (!id) return id.error();
  return netns_addresses(socket.value().get(), id.value(), guest_ifindex);
}

}  // namespace grantd
