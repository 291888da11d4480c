#include "agent/attach/clsact.h"

#include <bpf/libbpf.h>
#include <linux/pkt_sched.h>
#include <netlink/netlink.h>
#include <netlink/route/qdisc.h>
#include <netlink/route/tc.h>

#include <cerrno>
#include <map>
#include <memory>
#include <string>

namespace grantd {

namespace {

constexpr std::uint32_t kPriority = 1, kHandle = 0x67;

struct SocketDeleter {
  void operator()(nl_sock* socket) const { nl_socket_free(socket); }
};
struct CacheDeleter {
  void operator()(nl_cache* cache) const { nl_cache_free(cache); }
};
struct QdiscDeleter {
  void operator()(rtnl_qdisc* qdisc) const { rtnl_qdisc_put(qdisc); }
};
using Socket = std::unique_ptr<nl_sock, SocketDeleter>;
using Cache = std::unique_ptr<nl_cache, CacheDeleter>;

Error netlink_error(const std::string& what, int code) { return Error{what + ": " + nl_geterror(code), 0}; }

Result<Socket> connect() {
  Socket socket(nl_socket_alloc());
  if (!socket) return Error{"netlink: no memory for a socket", ENOMEM};
  if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0) return netlink_error("netlink", code);
  return socket;
}

// The kind of the qdisc on an interface's ingress hook ("clsact", "ingress"), by interface.
Result<std::map<std::uint32_t, std::string>> hook_kinds(nl_sock* socket) {
  nl_cache* raw = nullptr;
  if (const int code = rtnl_qdisc_alloc_cache(socket, &raw); code < 0) return netlink_error("cannot list qdiscs", code);
  const Cache cache(raw);
  std::map<std::uint32_t, std::string> kinds;
  for (nl_object* each = nl_cache_get_first(cache.get()); each; each = nl_cache_get_next(each)) {
    auto* tc = reinterpret_cast<rtnl_tc*>(each);
    const char* kind = rtnl_tc_get_kind(tc);
    if (kind && rtnl_tc_get_parent(tc) == TC_H_INGRESS)
      kinds[static_cast<std::uint32_t>(rtnl_tc_get_ifindex(tc))] = kind;
  }
  return kinds;
}

Result<void> delete_ingress_qdisc(nl_sock* socket, std::uint32_t ifindex) {
  const std::unique_ptr<rtnl_qdisc, QdiscDeleter> qdisc(rtnl_qdisc_alloc());
  if (!qdisc) return Error{"netlink: no memory for a qdisc", ENOMEM};
  auto* tc = reinterpret_cast<rtnl_tc*>(qdisc.get());
  rtnl_tc_set_ifindex(tc, static_cast<int>(ifindex));
  rtnl_tc_set_parent(tc, TC_H_INGRESS);
  rtnl_tc_set_handle(tc, TC_H_MAKE(TC_H_INGRESS, 0));
  if (const int code = rtnl_qdisc_delete(socket, qdisc.get()); code < 0)
    return netlink_error("interface " + std::to_string(ifindex) + ": cannot remove its ingress qdisc", code);
  return {};
}

bpf_tc_hook hook_of(std::uint32_t ifindex, bool egress) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = static_cast<int>(ifindex);
  hook.attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS;
  return hook;
}

// 0: no such filter.
std::uint32_t program_at(std::uint32_t ifindex, bool egress) {
  const bpf_tc_hook hook = hook_of(ifindex, egress);
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = kHandle;
  options.priority = kPriority;
  return bpf_tc_query(&hook, &options) == 0 ? options.prog_id : 0;
}

}  // namespace

Result<void> attach_filter(std::uint32_t ifindex, bool egress, int program_fd, std::uint32_t program_id) {
  const std::string where = "interface " + std::to_string(ifindex) + (egress ? " egress" : " ingress") + ": clsact";
  auto socket = connect();
  if (!socket) return socket.error();
  auto kinds = hook_kinds(socket.value().get());
  if (!kinds) return kinds.error();
  if (const auto kind = kinds.value().find(ifindex); kind != kinds.value().end() && kind->second != "clsact")
    if (auto deleted = delete_ingress_qdisc(socket.value().get(), ifindex); !deleted) return deleted;
  bpf_tc_hook both = hook_of(ifindex, egress);
  both.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  if (const int error = bpf_tc_hook_create(&both); error != 0 && error != -EEXIST)
    return system_error(where + ": cannot make the qdisc", -error);
  const bpf_tc_hook hook = hook_of(ifindex, egress);
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = kHandle;
  options.priority = kPriority;
  options.prog_fd = program_fd;
  options.flags = BPF_TC_F_REPLACE;
  if (const int error = bpf_tc_attach(&hook, &options); error != 0)
    return system_error(where + ": cannot attach", -error);
  auto after = hook_kinds(socket.value().get());
  if (!after) return after.error();
  if (after.value()[ifindex] != "clsact")
    return Error{where + ": the qdisc is of kind '" + after.value()[ifindex] + "'", 0};
  if (program_at(ifindex, egress) != program_id) return Error{where + ": another program is there", 0};
  return {};
}

Result<void> detach_filter(std::uint32_t ifindex, bool egress) {
  const bpf_tc_hook hook = hook_of(ifindex, egress);
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = kHandle;
  options.priority = kPriority;
  const int error = bpf_tc_detach(&hook, &options);
  if (error != 0 && error != -ENOENT && error != -EINVAL && error != -ENODEV)
    return system_error("interface " + std::to_string(ifindex) + ": cannot detach the filter", -error);
  return {};
}

Result<std::vector<ClsactFilter>> clsact_filters() {
  auto socket = connect();
  if (!socket) return socket.error();
  auto kinds = hook_kinds(socket.value().get());
  if (!kinds) return kinds.error();
  std::vector<ClsactFilter> filters;
  for (const auto& [ifindex, kind] : kinds.value()) {
    if (kind != "clsact") continue;
    for (bool egress : {false, true})
      if (const std::uint32_t id = program_at(ifindex, egress); id != 0) filters.push_back({ifindex, egress, id});
  }
  return filters;
}

}  // namespace grantd
