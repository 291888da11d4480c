#include "agent/attach/interface_mark.h"

#include "agent/netlink/link_request.h"

#include <linux/if.h>
#include <linux/if_link.h>
#include <netlink/attr.h>

#include <cerrno>
#include <optional>

namespace grantd {

namespace {

constexpr std::size_t kLongestAlias = IFALIASZ - 1;
constexpr int kMostDumps = 5;  // of a list that changes while it is read

struct Link {
  std::uint32_t ifindex = 0;
  bool up = false;
  std::string alias;
};

// What it was before stands behind it.
std::string mark_of(const std::string& pin_root) { return "set down by grantd at " + pin_root + "; before: "; }

bool bears(const Link& link, const std::string& mark) { return link.alias.starts_with(mark); }

std::optional<Link> link_of(nlmsghdr* answer) {
  nlattr* attributes[IFLA_MAX + 1];
  if (answer->nlmsg_type != RTM_NEWLINK || nlmsg_parse(answer, sizeof(ifinfomsg), attributes, IFLA_MAX, nullptr) < 0)
    return std::nullopt;
  const auto* header = static_cast<ifinfomsg*>(nlmsg_data(answer));
  Link link{static_cast<std::uint32_t>(header->ifi_index), (header->ifi_flags & IFF_UP) != 0, ""};
  if (attributes[IFLA_IFALIAS]) link.alias = nla_get_string(attributes[IFLA_IFALIAS]);
  return link;
}

// Nothing where there is none.
Result<std::optional<Link>> read_link(nl_sock* socket, std::uint32_t ifindex) {
  const NetlinkMessage request = link_request(RTM_GETLINK, 0, ifindex);
  if (!request) return no_netlink_memory();
  std::optional<Link> link;
  auto asked = ask_netlink(socket, request.get(), [&](nlmsghdr* answer) { link = link_of(answer); });
  if (!asked && asked.error().error_number == ENODEV) return std::optional<Link>();
  if (!asked) return asked.error();
  return link;
}

Result<void> write_alias(nl_sock* socket, std::uint32_t ifindex, const std::string& alias) {
  const NetlinkMessage request = link_request(RTM_SETLINK, 0, ifindex);
  if (!request || nla_put(request.get(), IFLA_IFALIAS, static_cast<int>(alias.size()), alias.data()) < 0)
    return no_netlink_memory();
  auto written = ask_netlink(socket, request.get(), [](nlmsghdr*) {});
  if (!written && written.error().error_number == ENODEV) return {};
  return written;
}

}  // namespace

Result<bool> mark_interface(const std::string& pin_root, std::uint32_t ifindex) {
  const auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto link = read_link(socket.value().get(), ifindex);
  if (!link) return link.error();
  if (!link.value()) return false;
  const std::string mark = mark_of(pin_root);
  if (bears(*link.value(), mark)) return true;
  if (!link.value()->up) return false;
  const std::string alias = (mark + link.value()->alias).substr(0, kLongestAlias);
  if (auto written = write_alias(socket.value().get(), ifindex, alias); !written) return written.error();
  return true;
}

Result<void> unmark_interface(const std::string& pin_root, std::uint32_t ifindex) {
  const auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto link = read_link(socket.value().get(), ifindex);
  if (!link) return link.error();
  const std::string mark = mark_of(pin_root);
  if (!link.value() || !bears(*link.value(), mark)) return {};
  return write_alias(socket.value().get(), ifindex, link.value()->alias.substr(mark.size()));
}

Result<std::vector<std::uint32_t>> marked_interfaces(const std::string& pin_root) {
  const auto socket = connect_netlink();
  if (!socket) return socket.error();
  const std::string mark = mark_of(pin_root);
  for (int turn = 1;; turn++) {
    const NetlinkMessage request = link_request(RTM_GETLINK, NLM_F_DUMP, 0);
    if (!request) return no_netlink_memory();
    std::vector<std::uint32_t> marked;
    auto asked = ask_netlink(socket.value().get(), request.get(), [&](nlmsghdr* answer) {
      if (const auto link = link_of(answer); link && bears(*link, mark)) marked.push_back(link->ifindex);
    });
    if (asked) return marked;
    if (asked.error().error_number != EINTR || turn == kMostDumps) return asked.error();
  }
}

}  // namespace grantd
