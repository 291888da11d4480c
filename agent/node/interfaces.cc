#include "agent/node/interfaces.h"

#include "agent/netlink/link_request.h"
#include "agent/node/local_routes.h"

#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <string_view>

namespace grantd {

namespace {

bool is_layer3(unsigned int header) {
  switch (header) {
    case ARPHRD_NONE:
    case ARPHRD_RAWIP:
    case ARPHRD_PPP:
    case ARPHRD_SLIP:
    case ARPHRD_CSLIP:
    case ARPHRD_TUNNEL:
    case ARPHRD_TUNNEL6:
    case ARPHRD_SIT:
    case ARPHRD_IPGRE:
    case ARPHRD_IP6GRE:
      return true;
    default:
      return false;
  }
}

std::optional<MacAddress> mac_of(const void* bytes, std::size_t length) {
  MacAddress mac;
  if (!bytes || length != mac.bytes.size()) return std::nullopt;
  std::memcpy(mac.bytes.data(), bytes, length);
  return mac;
}

std::optional<MacAddress> mac_of(rtnl_link* link) {
  nl_addr* address = rtnl_link_get_addr(link);
  return address ? mac_of(nl_addr_get_binary_addr(address), nl_addr_get_len(address)) : std::nullopt;
}

// The other end of a pair, in another network namespace, by the id that this one has for that. What the kernel does not
// tell stays as it is; an error where it may, if asked again.
Result<void> read_other_end(nl_sock* socket, int netns_id, int ifindex, InterfaceFact& fact) {
  const NetlinkMessage request = link_request(RTM_GETLINK, 0, static_cast<std::uint32_t>(ifindex));
  if (!request || nla_put_s32(request.get(), IFLA_TARGET_NETNSID, netns_id) < 0) return no_netlink_memory();
  const auto asked = ask_netlink(socket, request.get(), [&](nlmsghdr* answer) {
    nlattr* address = nlmsg_find_attr(answer, sizeof(ifinfomsg), IFLA_ADDRESS);
    if (address) fact.peer_mac = mac_of(nla_data(address), static_cast<std::size_t>(nla_len(address)));
    nlattr* segments = nlmsg_find_attr(answer, sizeof(ifinfomsg), IFLA_GSO_MAX_SEGS);
    if (segments) fact.peer_segments = nla_get_u32(segments);
  });
  if (!asked && (asked.error().error_number == ENOMEM || asked.error().error_number == EAGAIN)) return asked.error();
  return {};
}

std::optional<IpAddress> address_of(rtnl_addr* entry) {
  nl_addr* local = rtnl_addr_get_local(entry);
  if (!local) return std::nullopt;
  IpAddress address;
  const unsigned int length = nl_addr_get_len(local);
  if (length != 4 && length != 16) return std::nullopt;
  address.family = length == 4 ? Family::IPv4 : Family::IPv6;
  std::memcpy(address.bytes.data(), nl_addr_get_binary_addr(local), length);
  return address;
}

// A filter goes from a hook of clsact or comes to its first priority, where it may stand before ours, the hooks
// themselves go, or all queues of an interface. Other news of queues, of our own classes too, are none.
bool changes_hooks(nlmsghdr* message) {
  const bool comes = message->nlmsg_type == RTM_NEWTFILTER;
  if (!comes && message->nlmsg_type != RTM_DELQDISC && message->nlmsg_type != RTM_DELTFILTER) return false;
  if (!nlmsg_valid_hdr(message, sizeof(tcmsg))) return true;
  const auto* told = static_cast<tcmsg*>(nlmsg_data(message));
  static_assert(TC_H_MAJ(TC_H_ROOT) == TC_H_MAJ(TC_H_CLSACT));
  return TC_H_MAJ(told->tcm_parent) == TC_H_MAJ(TC_H_CLSACT) && (!comes || TC_H_MAJ(told->tcm_info) == 1U << 16);
}

// The index of an interface that has ended: one that goes to another network namespace is told with the name of that.
std::optional<std::uint32_t> ended(nlmsghdr* message) {
  if (message->nlmsg_type != RTM_DELLINK || !nlmsg_valid_hdr(message, sizeof(ifinfomsg))) return std::nullopt;
  const auto* link = static_cast<ifinfomsg*>(nlmsg_data(message));
  if (link->ifi_family != AF_UNSPEC || nlmsg_find_attr(message, sizeof(ifinfomsg), IFLA_NEW_NETNSID))
    return std::nullopt;
  return static_cast<std::uint32_t>(link->ifi_index);
}

// What a watch is told and the facts do not hold: a bridge about its ports (a port that comes or goes is told
// as an interface too), routes to elsewhere, and wireless events, which say that nothing of the interface changed.
bool matters(nlmsghdr* message) {
  if (message->nlmsg_type >= RTM_NEWQDISC && message->nlmsg_type <= RTM_GETTFILTER) return changes_hooks(message);
  if (message->nlmsg_type == RTM_NEWROUTE || message->nlmsg_type == RTM_DELROUTE)
    return local_prefix_of(message).has_value();
  if (message->nlmsg_type != RTM_NEWLINK && message->nlmsg_type != RTM_DELLINK) return true;
  if (!nlmsg_valid_hdr(message, sizeof(ifinfomsg))) return true;
  const auto* link = static_cast<ifinfomsg*>(nlmsg_data(message));
  return link->ifi_family != AF_BRIDGE && !nlmsg_find_attr(message, sizeof(ifinfomsg), IFLA_WIRELESS);
}

// Whether it is the interface of a device on a bus, as the kernel says since 5.14. Where it does not say so it is none;
// an error where it may, if asked again.
Result<bool> stands_on_a_bus(nl_sock* socket, const InterfaceFact& fact) {
  const NetlinkMessage request = link_request(RTM_GETLINK, 0, fact.ifindex);
  if (!request) return no_netlink_memory();
  bool found = false;
  const auto asked = ask_netlink(socket, request.get(), [&](nlmsghdr* answer) {
    found = found || nlmsg_find_attr(answer, sizeof(ifinfomsg), IFLA_PARENT_DEV_NAME) != nullptr;
  });
  if (!asked && (asked.error().error_number == ENOMEM || asked.error().error_number == EAGAIN))
    return Error{"cannot ask for the device of " + fact.name + ": " + asked.error().message, 0};
  return found;
}

Result<InterfaceFact> describe(nl_sock* socket, nl_cache* links, rtnl_link* link) {
  InterfaceFact fact;
  fact.name = rtnl_link_get_name(link) ? rtnl_link_get_name(link) : "";
  fact.ifindex = static_cast<std::uint32_t>(rtnl_link_get_ifindex(link));
  const unsigned int header = rtnl_link_get_arptype(link);
  fact.layer3 = is_layer3(header);
  fact.loopback = (rtnl_link_get_flags(link) & IFF_LOOPBACK) != 0;
  fact.master = static_cast<std::uint32_t>(std::max(rtnl_link_get_master(link), 0));
  const char* kind = rtnl_link_get_type(link);
  bool on_a_bus = false;
  if (!kind && header == ARPHRD_ETHER) {
    const auto asked = stands_on_a_bus(socket, fact);
    if (!asked) return asked.error();
    on_a_bus = asked.value();
  }
  fact.tunnel = is_tunnel(kind ? kind : "", header, on_a_bus);
  fact.mac = mac_of(link).value_or(MacAddress{});
  const int peer = rtnl_link_get_link(link);
  if (kind && (std::string_view(kind) == "veth" || std::string_view(kind) == "netkit") && peer > 0) {
    int netns_id = -1;
    fact.peer_ifindex = static_cast<std::uint32_t>(peer);
    if (rtnl_link_get_link_netnsid(link, &netns_id) == 0 && netns_id >= 0) {
      fact.peer_netns_id = netns_id;
      const auto read = read_other_end(socket, netns_id, peer, fact);
      if (!read) return Error{"cannot read the other end of " + fact.name + ": " + read.error().message, 0};
    } else if (rtnl_link* other = rtnl_link_get(links, peer)) {
      fact.peer_mac = mac_of(other);
      rtnl_link_put(other);
    }
  }
  return fact;
}

void add_addresses(nl_cache* addresses, std::map<std::uint32_t, InterfaceFact>& facts) {
  for (nl_object* each = nl_cache_get_first(addresses); each; each = nl_cache_get_next(each)) {
    auto* entry = reinterpret_cast<rtnl_addr*>(each);
    const auto address = address_of(entry);
    const auto fact = facts.find(static_cast<std::uint32_t>(rtnl_addr_get_ifindex(entry)));
    if (!address || fact == facts.end()) continue;
    auto& list = address->is_link_local() ? fact->second.link_local : fact->second.addresses;
    // Loopback's own are not addresses that anybody reaches the node by.
    if (fact->second.loopback && address->family == Family::IPv4 && address->bytes[0] == 127) continue;
    if (fact->second.loopback && *address == IpAddress::parse("::1").value()) continue;
    list.push_back(*address);
  }
}

}  // namespace

bool is_tunnel(std::string_view kind, unsigned int header, bool on_a_bus) {
  constexpr std::string_view kinds[] = {"vxlan", "geneve",    "bareudp",   "gretap",    "ip6gretap", "erspan",
                                        "gtp",   "ip6erspan", "wireguard", "amneziawg", "macsec",    "batadv",
                                        "amt",   "ovpn",      "xfrm",      "gre",       "ipip"};
  if (is_layer3(header) || std::find(std::begin(kinds), std::end(kinds), kind) != std::end(kinds)) return true;
  return kind.empty() && header == ARPHRD_ETHER && !on_a_bus;
}

Result<std::vector<InterfaceFact>> read_interfaces() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  nl_cache* raw = nullptr;
  if (const int code = rtnl_link_alloc_cache(socket.value().get(), AF_UNSPEC, &raw); code < 0)
    return netlink_error("cannot list interfaces", code);
  const NetlinkCache links(raw);
  if (const int code = rtnl_addr_alloc_cache(socket.value().get(), &raw); code < 0)
    return netlink_error("cannot list addresses", code);
  const NetlinkCache addresses(raw);
  std::map<std::uint32_t, InterfaceFact> facts;
  for (nl_object* each = nl_cache_get_first(links.get()); each; each = nl_cache_get_next(each)) {
    auto fact = describe(socket.value().get(), links.get(), reinterpret_cast<rtnl_link*>(each));
    if (!fact) return fact.error();
    const std::uint32_t ifindex = fact.value().ifindex;
    facts[ifindex] = std::move(fact).value();
  }
  add_addresses(addresses.get(), facts);
  std::vector<InterfaceFact> result;
  for (auto& [ifindex, fact] : facts) {
    // A guest behind a bridge has the bridge's addresses as its gateway; compile adds the global ones.
    if (const auto bridge = facts.find(fact.master); fact.master && bridge != facts.end())
      fact.link_local.insert(fact.link_local.end(), bridge->second.link_local.begin(), bridge->second.link_local.end());
    result.push_back(fact);
  }
  return result;
}

Result<InterfaceWatch> InterfaceWatch::open() {
  auto socket = listen_to_netlink(NETLINK_ROUTE, {RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
                                                  RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_TC});
  if (!socket) return Error{"cannot watch interfaces: " + socket.error().message, socket.error().error_number};
  InterfaceWatch watch;
  watch.socket_ = std::move(socket).value();
  return watch;
}

int InterfaceWatch::fd() const { return nl_socket_get_fd(socket_.get()); }

bool InterfaceWatch::drain() {
  bool changed = false;
  const bool lost = drain_netlink(socket_.get(), [&](nlmsghdr* message) {
    changed = changed || matters(message);
    if (const auto index = ended(message)) gone_.insert(*index);
  });
  return changed || lost;
}

}  // namespace grantd
