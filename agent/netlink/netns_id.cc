#include "agent/netlink/netns_id.h"

#include "agent/netlink/netlink.h"

#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace grantd {

namespace {

Result<NetlinkMessage> request(int type, int netns_fd) {
  rtgenmsg header{};
  NetlinkMessage message(nlmsg_alloc_simple(type, 0));
  if (!message || nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0 ||
      nla_put_u32(message.get(), NETNSA_FD, static_cast<std::uint32_t>(netns_fd)) < 0)
    return no_netlink_memory();
  return message;
}

// The one of that number among the entries of a directory, each with `below` behind it.
std::optional<Descriptor> find_below(nl_sock* socket, int id, const char* directory, const char* below,
                                     std::set<ino_t>& seen) {
  std::error_code failed;
  for (std::filesystem::directory_iterator each(directory, failed), end; !failed && each != end;
       each.increment(failed)) {
    const std::string path = each->path().string() + below;
    struct stat there {};
    // Most processes are in one and the same.
    if (stat(path.c_str(), &there) != 0 || !seen.insert(there.st_ino).second) continue;
    Descriptor netns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) continue;
    const auto found = netns_id(socket, netns.get());
    if (found && found.value() == id) return netns;
  }
  return std::nullopt;
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
  if (nla_put_s32(message.value().get(), NETNSA_NSID, kNoNetnsId) < 0) return no_netlink_memory();
  const auto asked = ask_netlink(socket, message.value().get(), [](nlmsghdr*) {});
  if (!asked && asked.error().error_number != EEXIST) return asked.error();  // somebody else was faster
  id = netns_id(socket, netns_fd);
  if (id && id.value() == kNoNetnsId) return Error{"the kernel gives it no number"};
  return id;
}

Result<Descriptor> find_netns(nl_sock* socket, int id) {
  std::set<ino_t> seen;
  // Those with a name first: a process may end while it is looked at.
  if (auto named = find_below(socket, id, "/run/netns", "", seen)) return std::move(*named);
  if (auto of_process = find_below(socket, id, "/proc", "/ns/net", seen)) return std::move(*of_process);
  return Error{
      "its network namespace is not to be found under /run/netns or among the processes that are seen from here",
      ENOENT};
}

}  // namespace grantd
