#include "agent/attach/clsact.h"

#include "agent/attach/links.h"
#include "agent/netlink/netlink.h"

#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace grantd {

namespace {

// Two handles, so that a new filter can go to the front while the old one still stands: among filters of
// one priority the kernel puts the newest first.
constexpr std::uint32_t kPriority = 1, kHandles[] = {0x67, 0x68};
constexpr const char* kClsact = "clsact";

struct Qdisc {
  std::uint32_t ifindex = 0;
  std::string kind;
};

struct Filter {
  std::uint32_t priority = 0, handle = 0, chain = 0, program_id = 0;
  std::string kind, program_name, program_tag;
  bool ours() const {
    return chain == 0 && priority == kPriority && kind == "bpf" &&
           std::find(std::begin(kHandles), std::end(kHandles), handle) != std::end(kHandles);
  }
};

std::string where(std::uint32_t ifindex, bool egress) {
  return "interface " + std::to_string(ifindex) + (egress ? " egress" : " ingress") + ": clsact";
}

NetlinkMessage request(int type, int flags, std::uint32_t ifindex, std::uint32_t parent) {
  tcmsg header{};
  header.tcm_family = AF_UNSPEC;
  header.tcm_ifindex = static_cast<int>(ifindex);
  header.tcm_parent = parent;
  NetlinkMessage message(nlmsg_alloc_simple(type, flags));
  if (message && nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0) message.reset();
  return message;
}

// Interfaces that have a qdisc on their ingress hook, with its kind ("clsact", "ingress"). 0: all of them.
Result<std::vector<Qdisc>> hook_qdiscs(nl_sock* socket, std::uint32_t ifindex) {
  std::vector<Qdisc> qdiscs;
  // The kernel answers a question about one qdisc as if it were news: with ECHO the asker hears it too.
  const NetlinkMessage message =
      ifindex ? request(RTM_GETQDISC, NLM_F_ECHO, ifindex, TC_H_INGRESS) : request(RTM_GETQDISC, NLM_F_DUMP, 0, 0);
  if (!message) return no_netlink_memory();
  auto asked = ask_netlink(socket, message.get(), [&](nlmsghdr* answer) {
    nlattr* attributes[TCA_MAX + 1];
    if (nlmsg_parse(answer, sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0) return;
    const auto* header = static_cast<tcmsg*>(nlmsg_data(answer));
    if (header->tcm_parent == TC_H_INGRESS && attributes[TCA_KIND])
      qdiscs.push_back({static_cast<std::uint32_t>(header->tcm_ifindex), nla_get_string(attributes[TCA_KIND])});
  });
  if (!asked && asked.error().error_number != ENOENT)
    return Error{"interface " + std::to_string(ifindex) + ": cannot read its qdisc: " + asked.error().message,
                 asked.error().error_number};
  return qdiscs;
}

Result<std::string> hook_kind(nl_sock* socket, std::uint32_t ifindex) {
  auto qdiscs = hook_qdiscs(socket, ifindex);
  if (!qdiscs) return qdiscs.error();
  return qdiscs.value().empty() ? std::string() : qdiscs.value().front().kind;
}

void take_program(nlattr* options, Filter& filter) {
  nlattr* attributes[TCA_BPF_MAX + 1];
  if (!options || nla_parse_nested(attributes, TCA_BPF_MAX, options, nullptr) < 0) return;
  if (attributes[TCA_BPF_ID]) filter.program_id = nla_get_u32(attributes[TCA_BPF_ID]);
  if (const nlattr* tag = attributes[TCA_BPF_TAG])
    filter.program_tag =
        tag_text(static_cast<const std::uint8_t*>(nla_data(tag)), static_cast<std::size_t>(nla_len(tag)));
  if (!attributes[TCA_BPF_NAME]) return;
  filter.program_name = nla_get_string(attributes[TCA_BPF_NAME]);
  filter.program_name.resize(
      std::min(filter.program_name.find(":["), filter.program_name.size()));  // libbpf's "NAME:[ID]"
}

// All filters of one side, in the order in which packets meet them.
Result<std::vector<Filter>> list_filters(nl_sock* socket, std::uint32_t ifindex, bool egress) {
  std::vector<Filter> filters;
  const NetlinkMessage message =
      request(RTM_GETTFILTER, NLM_F_DUMP, ifindex, TC_H_MAKE(TC_H_CLSACT, egress ? TC_H_MIN_EGRESS : TC_H_MIN_INGRESS));
  if (!message) return no_netlink_memory();
  auto asked = ask_netlink(socket, message.get(), [&](nlmsghdr* answer) {
    nlattr* attributes[TCA_MAX + 1];
    if (nlmsg_parse(answer, sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0) return;
    const auto* header = static_cast<tcmsg*>(nlmsg_data(answer));
    Filter filter;
    filter.priority = header->tcm_info >> 16;
    filter.handle = header->tcm_handle;
    if (attributes[TCA_CHAIN]) filter.chain = nla_get_u32(attributes[TCA_CHAIN]);
    if (attributes[TCA_KIND]) filter.kind = nla_get_string(attributes[TCA_KIND]);
    if (filter.kind == "bpf") take_program(attributes[TCA_OPTIONS], filter);
    // Without a handle: the head of a priority, not a filter. Other chains are entered by jumps only.
    if (filter.handle != 0 && filter.chain == 0) filters.push_back(filter);
  });
  if (!asked) return asked.error();
  return filters;
}

Result<std::vector<ClsactFilter>> ours_on(nl_sock* socket, std::uint32_t ifindex, bool egress) {
  auto filters = list_filters(socket, ifindex, egress);
  if (!filters) return filters.error();
  std::vector<ClsactFilter> ours;
  for (const Filter& filter : filters.value())
    if (filter.ours())
      ours.push_back({ifindex, egress, filter.handle, filter.program_id, &filter == &filters.value().front(),
                      filter.program_name, filter.program_tag});
  return ours;
}

Result<void> delete_hook_qdisc(nl_sock* socket, std::uint32_t ifindex) {
  const NetlinkMessage message = request(RTM_DELQDISC, 0, ifindex, TC_H_INGRESS);
  if (!message) return no_netlink_memory();
  auto asked = ask_netlink(socket, message.get(), [](nlmsghdr*) {});
  if (!asked && asked.error().error_number != ENOENT)
    return Error{"interface " + std::to_string(ifindex) + ": cannot remove its qdisc: " + asked.error().message,
                 asked.error().error_number};
  return {};
}

Result<void> make_clsact(nl_sock* socket, std::uint32_t ifindex) {
  auto kind = hook_kind(socket, ifindex);
  if (!kind) return kind.error();
  if (kind.value() == kClsact) return {};
  if (!kind.value().empty())
    if (auto deleted = delete_hook_qdisc(socket, ifindex); !deleted) return deleted;
  bpf_tc_hook both{};
  both.sz = sizeof(both);
  both.ifindex = static_cast<int>(ifindex);
  both.attach_point = static_cast<bpf_tc_attach_point>(BPF_TC_INGRESS | BPF_TC_EGRESS);
  if (const int error = bpf_tc_hook_create(&both); error != 0 && error != -EEXIST)
    return system_error("interface " + std::to_string(ifindex) + ": cannot make the clsact qdisc", -error);
  return {};
}

bpf_tc_hook hook_of(std::uint32_t ifindex, bool egress) {
  bpf_tc_hook hook{};
  hook.sz = sizeof(hook);
  hook.ifindex = static_cast<int>(ifindex);
  hook.attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS;
  return hook;
}

bpf_tc_opts options_of(std::uint32_t handle) {
  bpf_tc_opts options{};
  options.sz = sizeof(options);
  options.handle = handle;
  options.priority = kPriority;
  return options;
}

std::uint32_t free_handle(const std::vector<ClsactFilter>& ours) {
  for (std::uint32_t handle : kHandles)
    if (std::none_of(ours.begin(), ours.end(), [&](const ClsactFilter& each) { return each.handle == handle; }))
      return handle;
  return 0;
}

}  // namespace

Result<void> attach_filter(std::uint32_t ifindex, bool egress, int program_fd, std::uint32_t program_id) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  if (auto made = make_clsact(socket.value().get(), ifindex); !made) return made;
  auto before = ours_on(socket.value().get(), ifindex, egress);
  if (!before) return before.error();
  std::vector<ClsactFilter> old = std::move(before).value();
  if (old.size() > 1) {  // somebody stands between our two: the later one gives its handle
    if (auto detached = detach_filter(old.back()); !detached) return detached;
    old.pop_back();
  }
  const bool in_place = !old.empty() && old.front().first;
  ClsactFilter wanted{ifindex, egress, in_place ? old.front().handle : free_handle(old), program_id, true, {}, {}};
  // What stands already is left alone: the kernel would tell whoever listens, us too, of a change.
  if (!in_place || old.front().program_id != program_id)
    if (auto put = replace_filter(wanted, program_fd); !put) return put;

  auto kind = hook_kind(socket.value().get(), ifindex);
  if (!kind) return kind.error();
  if (kind.value() != kClsact)
    return Error{where(ifindex, egress) + ": the qdisc is of kind '" + kind.value() + "'", 0};
  auto after = ours_on(socket.value().get(), ifindex, egress);
  if (!after) return after.error();
  if (after.value().empty() || !after.value().front().first || after.value().front().program_id != program_id)
    return Error{where(ifindex, egress) + ": another filter stands before ours after it was attached", 0};
  if (!in_place && !old.empty()) return detach_filter(old.front());
  return {};
}

Result<void> replace_filter(const ClsactFilter& filter, int program_fd) {
  const bpf_tc_hook hook = hook_of(filter.ifindex, filter.egress);
  bpf_tc_opts options = options_of(filter.handle);
  options.prog_fd = program_fd;
  options.flags = BPF_TC_F_REPLACE;
  if (const int error = bpf_tc_attach(&hook, &options); error != 0)
    return system_error(where(filter.ifindex, filter.egress) + ": cannot attach", -error);
  return {};
}

Result<void> detach_filter(const ClsactFilter& filter) {
  const bpf_tc_hook hook = hook_of(filter.ifindex, filter.egress);
  const bpf_tc_opts options = options_of(filter.handle);
  const int error = bpf_tc_detach(&hook, &options);
  if (error != 0 && error != -ENOENT && error != -EINVAL && error != -ENODEV)
    return system_error(where(filter.ifindex, filter.egress) + ": cannot detach", -error);
  return {};
}

Result<void> remove_empty_clsact(std::uint32_t ifindex) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto kind = hook_kind(socket.value().get(), ifindex);
  if (!kind || kind.value() != kClsact) return {};
  for (bool egress : {false, true}) {
    auto filters = list_filters(socket.value().get(), ifindex, egress);
    if (!filters) return filters.error();
    if (!filters.value().empty()) return {};
  }
  return delete_hook_qdisc(socket.value().get(), ifindex);
}

Result<std::vector<ClsactFilter>> filters_on(std::uint32_t ifindex, bool egress) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto kind = hook_kind(socket.value().get(), ifindex);
  if (!kind && kind.error().error_number == ENODEV) return std::vector<ClsactFilter>();
  if (!kind) return kind.error();
  if (kind.value() != kClsact) return std::vector<ClsactFilter>();
  return ours_on(socket.value().get(), ifindex, egress);
}

Result<std::vector<ClsactFilter>> all_filters() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto qdiscs = hook_qdiscs(socket.value().get(), 0);
  if (!qdiscs) return qdiscs.error();
  std::vector<ClsactFilter> filters;
  for (const Qdisc& qdisc : qdiscs.value()) {
    if (qdisc.kind != kClsact) continue;
    for (bool egress : {false, true}) {
      auto ours = ours_on(socket.value().get(), qdisc.ifindex, egress);
      if (!ours && ours.error().error_number == ENODEV) continue;  // gone since it was listed
      if (!ours) return ours.error();
      filters.insert(filters.end(), ours.value().begin(), ours.value().end());
    }
  }
  return filters;
}

}  // namespace grantd
