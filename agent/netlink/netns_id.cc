#include "agent/netlink/netns_id.h"

#include "agent/netlink/netlink.h"

#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <cerrno>

namespace grantd {

namespace {

Result<NetlinkMessage> request(int type, int netns_fd) {
  rtgenmsg header{};
  NetlinkMessage message(nlmsg_alloc_simple(type, 0));
  if (!message || nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
      nla_put_u32(message.get(), NETNSA_FD, static_cast<std::uint32_t>(netns_fd)) < 0)
    return Error{"netlink: no memory", ENOMEM};
  return message;
}

}  // namespace

Result<int> netns_id(nl_sock* socket, int netns_fd) {
  auto message = request(RTM_GETNSID, netns_fd);
  if (!message) return message.error();
  int id = kNoNetnsId;
  const auto asked = ask_netlink(socket, message.value().get(), [&](nlmsghdr* answer) {
    nlattr* number = nlmsg_find_attr(answer, sizeof(rtgenmsg), NETNSA_NSID);
    if (number) id = nla_get_s32(number);
  });
  if (!asked) return asked.error();
  return id;
}

Result<int> name_netns(nl_sock* socket, int netns_fd) {
  auto id = netns_id(socket, netns_fd);
  if (!id || id.value() != kNoNetnsId) return id;
  auto message = request(RTM_NEWNSID, netns_fd);
  if (!message) return message.error();
  if (nla_put_s32(message.value().get(), NETNSA_NSID, kNoNetnsId) < 0) return Error{"netlink: no memory", ENOMEM};
  const auto asked = ask_netlink(socket, message.value().get(), [](nlmsghdr*) {});
  if (!asked && asked.error().error_number != EEXIST) return asked.error();  // somebody else was faster
  id = netns_id(socket, netns_fd);
  if (id && id.value() == kNoNetnsId) return Error{"the kernel gives it no number"};
  return id;
}

}  // namespace grantd
