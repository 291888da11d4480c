#include "agent/shape/queue_link.h"

#include "agent/netlink/link_request.h"
#include "maps/kernel/datapath_maps.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netlink/attr.h>

#include <cerrno>

namespace grantd {

namespace {

constexpr std::uint32_t kLargestMtu = 65535, kQueueLength = 1000;
constexpr std::uint8_t kNoAddresses = 1;  // IN6_ADDR_GEN_MODE_NONE
// Of both ends from their first instant on, which an alias cannot be. No packet carries it, so no guest sees it.
constexpr std::uint32_t kGroup = 0x67726e71;
constexpr unsigned kUp = IFF_UP, kNoArp = IFF_NOARP, kMulticast = IFF_MULTICAST;

struct End {
  std::uint32_t ifindex = 0, peer = 0;
  bool up = false, ours = false;
  bool half_made = false;  // by an agent that ended before it gave it its alias
};

// Says in the kernel whose it is, so that nobody else's is ever taken for it.
std::string alias_of(const std::string& pin_root) { return "queues of grantd at " + pin_root; }

// "grantd-q", or with a digest of another pin root.
std::string name_of(const std::string& pin_root, char end) {
  return std::string("grantd-") + end + (pin_root == kDefaultPinRoot ? "" : digest_of_pin_root(pin_root));
}

Result<std::optional<End>> read_end(nl_sock* socket, const std::string& name, const std::string& alias) {
  const NetlinkMessage message = link_request(RTM_GETLINK, 0, 0);
  if (!message || nla_put_string(message.get(), IFLA_IFNAME, name.c_str()) < 0) return no_netlink_memory();
  std::optional<End> end;
  auto asked = ask_netlink(socket, message.get(), [&](nlmsghdr* answer) {
    nlattr *attributes[IFLA_MAX + 1], *info[IFLA_INFO_MAX + 1];
    if (nlmsg_parse(answer, sizeof(ifinfomsg), attributes, IFLA_MAX, nullptr) < 0) return;
    const auto* header = static_cast<ifinfomsg*>(nlmsg_data(answer));
    end.emplace();
    end->ifindex = static_cast<std::uint32_t>(header->ifi_index);
    end->up = (header->ifi_flags & IFF_UP) != 0;
    if (attributes[IFLA_LINK] && !attributes[IFLA_LINK_NETNSID]) end->peer = nla_get_u32(attributes[IFLA_LINK]);
    if (!attributes[IFLA_LINKINFO] || nla_parse_nested(info, IFLA_INFO_MAX, attributes[IFLA_LINKINFO], nullptr) < 0 ||
        !info[IFLA_INFO_KIND] || std::string("veth") != nla_get_string(info[IFLA_INFO_KIND]))
      return;
    end->ours = attributes[IFLA_IFALIAS] && alias == nla_get_string(attributes[IFLA_IFALIAS]);
    end->half_made = !attributes[IFLA_IFALIAS] && !end->up && attributes[IFLA_GROUP] &&
                     nla_get_u32(attributes[IFLA_GROUP]) == kGroup;
  });
  if (!asked && asked.error().error_number == ENODEV) return std::optional<End>();
  if (!asked) return asked.error();
  return end;
}

// One queue each, so that packets keep their order.
bool put_common(nl_msg* message, const std::string& name) {
  return nla_put_string(message, IFLA_IFNAME, name.c_str()) == 0 && nla_put_u32(message, IFLA_MTU, kLargestMtu) == 0 &&
         nla_put_u32(message, IFLA_GROUP, kGroup) == 0 && nla_put_u32(message, IFLA_TXQLEN, kQueueLength) == 0 &&
         nla_put_u32(message, IFLA_NUM_TX_QUEUES, 1) == 0 && nla_put_u32(message, IFLA_NUM_RX_QUEUES, 1) == 0;
}

Result<void> create_pair(nl_sock* socket, const std::string& name, const std::string& other) {
  const NetlinkMessage message = link_request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0);
  if (!message || !put_common(message.get(), name)) return no_netlink_memory();
  nlattr* info = nla_nest_start(message.get(), IFLA_LINKINFO);
  if (!info || nla_put_string(message.get(), IFLA_INFO_KIND, "veth") < 0) return no_netlink_memory();
  nlattr* data = nla_nest_start(message.get(), IFLA_INFO_DATA);
  nlattr* peer = data ? nla_nest_start(message.get(), VETH_INFO_PEER) : nullptr;
  const ifinfomsg header{};
  if (!peer || nlmsg_append(message.get(), const_cast<ifinfomsg*>(&header), sizeof(header), NLMSG_ALIGNTO) < 0 ||
      !put_common(message.get(), other))
    return no_netlink_memory();
  nla_nest_end(message.get(), peer);
  nla_nest_end(message.get(), data);
  nla_nest_end(message.get(), info);
  auto made = ask_netlink(socket, message.get(), [](nlmsghdr*) {});
  if (!made)
    return Error{"cannot make the pair " + name + ", " + other + ": " + made.error().message,
                 made.error().error_number};
  return {};
}

// Before it is up: no address, no router, no neighbour.
Result<void> finish_end(nl_sock* socket, const std::string& name, const std::string& alias) {
  for (const bool up : {false, true}) {
    const NetlinkMessage message =
        link_request(RTM_SETLINK, 0, 0, up ? kUp | kNoArp : kNoArp, (up ? kUp : 0U) | kNoArp | kMulticast);
    if (!message || nla_put_string(message.get(), IFLA_IFNAME, name.c_str()) < 0) return no_netlink_memory();
    if (!up) {
      nlattr* families = nla_nest_start(message.get(), IFLA_AF_SPEC);
      nlattr* inet6 = families ? nla_nest_start(message.get(), AF_INET6) : nullptr;
      if (!inet6 || nla_put_u8(message.get(), IFLA_INET6_ADDR_GEN_MODE, kNoAddresses) < 0) return no_netlink_memory();
      nla_nest_end(message.get(), inet6);
      nla_nest_end(message.get(), families);
      if (nla_put_string(message.get(), IFLA_IFALIAS, alias.c_str()) < 0) return no_netlink_memory();
    }
    auto set = ask_netlink(socket, message.get(), [](nlmsghdr*) {});
    if (!set) return Error{"cannot set up " + name + ": " + set.error().message, set.error().error_number};
  }
  return {};
}

}  // namespace

std::string queue_name(const std::string& pin_root) { return name_of(pin_root, 'q'); }
std::string release_name(const std::string& pin_root) { return name_of(pin_root, 'r'); }

Result<std::optional<QueueLink>> read_queue_link(nl_sock* socket, const std::string& pin_root) {
  const std::string alias = alias_of(pin_root);
  auto queue = read_end(socket, queue_name(pin_root), alias);
  if (!queue) return queue.error();
  auto release = read_end(socket, release_name(pin_root), alias);
  if (!release) return release.error();
  const auto &q = queue.value(), &r = release.value();
  if (!q || !r || !q->ours || !r->ours || !q->up || !r->up || q->peer != r->ifindex) return std::optional<QueueLink>();
  return std::optional<QueueLink>(QueueLink{q->ifindex, r->ifindex});
}

Result<QueueLink> make_queue_link(nl_sock* socket, const std::string& pin_root) {
  const std::string alias = alias_of(pin_root), name = queue_name(pin_root), other = release_name(pin_root);
  auto there = read_queue_link(socket, pin_root);
  if (!there) return there.error();
  if (there.value()) return *there.value();
  if (auto removed = remove_queue_link(socket, pin_root); !removed) return removed.error();  // a half of one
  if (auto created = create_pair(socket, name, other); !created) return created.error();
  for (const std::string& end : {name, other})
    if (auto finished = finish_end(socket, end, alias); !finished) return finished.error();
  auto made = read_queue_link(socket, pin_root);
  if (!made) return made.error();
  if (!made.value()) return Error{"interfaces " + name + " and " + other + " are not what they were made as", 0};
  return *made.value();
}

Result<void> remove_queue_link(nl_sock* socket, const std::string& pin_root) {
  for (const std::string& name : {queue_name(pin_root), release_name(pin_root)}) {
    auto end = read_end(socket, name, alias_of(pin_root));
    if (!end) return end.error();
    if (!end.value() || !(end.value()->ours || end.value()->half_made)) continue;
    const NetlinkMessage message = link_request(RTM_DELLINK, 0, end.value()->ifindex);
    if (!message) return no_netlink_memory();
    auto removed = ask_netlink(socket, message.get(), [](nlmsghdr*) {});
    if (!removed && removed.error().error_number != ENODEV)
      return Error{"cannot remove " + name + ": " + removed.error().message, removed.error().error_number};
  }
  return {};
}

}  // namespace grantd
