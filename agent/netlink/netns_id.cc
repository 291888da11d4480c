#include "agent/netlink/netns_id.h"

#include "agent/netlink/netlink.h"

#include <fcntl.h>
#include <linux/net_namespace.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sys/stat.h>

#include <cctype>
#include <cerrno>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

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

// Paths of network namespaces, those with a name first: a process may end while it is looked at.
std::vector<std::string> netns_paths() {
  std::vector<std::string> paths;
  std::error_code failed;
  for (std::filesystem::directory_iterator each("/run/netns", failed), end; !failed && each != end;
       each.increment(failed))
    paths.push_back(each->path());
  for (std::filesystem::directory_iterator each("/proc", failed), end; !failed && each != end; each.increment(failed))
    if (std::isdigit(static_cast<unsigned char>(each->path().filename().c_str()[0])))
      paths.push_back(each->path() / "ns/net");
  return paths;
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

Result<Descriptor> find_netns(nl_sock* socket, int id) {
  std::set<ino_t> seen;  // most processes are in one and the same
  for (const std::string& path : netns_paths()) {
    struct stat there {};
    if (stat(path.c_str(), &there) != 0 || !seen.insert(there.st_ino).second) continue;
    Descriptor netns(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!netns.valid()) continue;
    const auto found = netns_id(socket, netns.get());
    if (found && found.value() == id) return netns;
  }
  return Error{
      "its network namespace is not to be found under /run/netns or among the processes that are seen from here",
      ENOENT};
}

}  // namespace grantd
