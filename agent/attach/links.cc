#include "agent/attach/links.h"

#include "agent/attach/attacher.h"
#include "agent/attach/cgroups.h"

#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <fstream>

namespace grantd {

namespace {

constexpr std::uint32_t kTcxIngress = 46, kTcxEgress = 47;  // BPF_TCX_INGRESS, BPF_TCX_EGRESS
constexpr std::uint32_t kBefore = 1U << 3;                  // BPF_F_BEFORE; alone: before all others

std::uint32_t tcx_type(Hook hook) { return hook == Hook::ToGuest ? kTcxEgress : kTcxIngress; }

bpf_attach_type cgroup_type(Hook hook) {
  switch (hook) {
    case Hook::Connect4:
      return BPF_CGROUP_INET4_CONNECT;
    case Hook::Connect6:
      return BPF_CGROUP_INET6_CONNECT;
    case Hook::SkbEgress:
      return BPF_CGROUP_INET_EGRESS;
    default:
      return BPF_CGROUP_INET_INGRESS;
  }
}

// The kernel's union bpf_attr as far as these commands use it; the rest is zero.
struct LinkCreate {
  std::uint32_t program_fd, target_ifindex, attach_type, flags, relative, pad;
  std::uint64_t expected_revision;
  std::uint8_t rest[96];
};
struct Query {
  std::uint32_t target_ifindex, attach_type, query_flags, attach_flags;
  std::uint64_t program_ids;
  std::uint32_t count, pad;
  std::uint64_t program_flags, link_ids;
  std::uint8_t rest[80];
};

std::uint32_t attach_type(Hook hook) {
  return is_interface_hook(hook) ? tcx_type(hook) : static_cast<std::uint32_t>(cgroup_type(hook));
}

template <typename Attributes>
int bpf_command(int command, Attributes& attributes) {
  return static_cast<int>(syscall(SYS_bpf, command, &attributes, sizeof(attributes)));
}

}  // namespace

const char* hook_name(Hook hook) {
  switch (hook) {
    case Hook::FromGuest:
      return "from_guest";
    case Hook::ToGuest:
      return "to_guest";
    case Hook::FromUplink:
      return "from_uplink";
    case Hook::Connect4:
      return "guest_connect4";
    case Hook::Connect6:
      return "guest_connect6";
    case Hook::SkbEgress:
      return "guest_skb_egress";
    case Hook::SkbIngress:
      return "guest_skb_ingress";
    case Hook::FromQueue:
      return "from_queue";
  }
  return "";
}

bool is_interface_hook(Hook hook) { return is_guest_hook(hook) || hook == Hook::FromUplink || hook == Hook::FromQueue; }

Result<Descriptor> create_tcx_link(Hook hook, std::uint32_t ifindex, int program_fd) {
  LinkCreate attributes{};
  attributes.program_fd = static_cast<std::uint32_t>(program_fd);
  attributes.target_ifindex = ifindex;
  attributes.attach_type = tcx_type(hook);
  attributes.flags = kBefore;
  Descriptor link(bpf_command(BPF_LINK_CREATE, attributes));
  if (!link.valid())
    return system_error(std::string(hook_name(hook)) + " on interface " + std::to_string(ifindex) + ": tcx link",
                        errno);
  return link;
}

Result<Descriptor> create_cgroup_link(Hook hook, std::uint64_t cgroup_id, int program_fd) {
  auto cgroup = open_cgroup(cgroup_id);
  if (!cgroup) return cgroup.error();
  Descriptor link(bpf_link_create(program_fd, cgroup.value().get(), cgroup_type(hook), nullptr));
  if (!link.valid())
    return system_error(std::string(hook_name(hook)) + " on cgroup " + std::to_string(cgroup_id), errno);
  return link;
}

Descriptor open_link(const std::string& path) {
  Descriptor opened(bpf_obj_get(path.c_str()));
  if (!opened.valid()) return opened;
  std::array<char, 64> kind{};
  const std::string name = "/proc/self/fd/" + std::to_string(opened.get());
  // Links bear other names in other kernels, maps and programs always these.
  const bool told = readlink(name.c_str(), kind.data(), kind.size() - 1) > 0;
  if (!told || (!std::strstr(kind.data(), "bpf-map") && !std::strstr(kind.data(), "bpf-prog"))) return opened;
  opened = {};
  errno = ENOENT;
  return opened;
}

Result<LinkInfo> link_info(int link_fd) {
  bpf_link_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(link_fd, &info, &length) != 0) return system_error("cannot read a link", errno);
  LinkInfo result;
  result.link_id = info.id;
  result.program_id = info.prog_id;
  if (info.type == BPF_LINK_TYPE_CGROUP) {
    result.cgroup_id = info.cgroup.cgroup_id;
    result.attach_type = info.cgroup.attach_type;
  } else {
    // tcx.ifindex and tcx.attach_type have the places of these; the number of its type is not in Debian's headers.
    result.ifindex = info.xdp.ifindex;
    result.attach_type = info.netns.attach_type;
  }
  return result;
}

std::string tag_text(const std::uint8_t* bytes, std::size_t count) {
  std::string text;
  for (std::size_t at = 0; at < count; at++)
    for (const unsigned digit : {static_cast<unsigned>(bytes[at]) >> 4U, static_cast<unsigned>(bytes[at]) & 15U})
      text += "0123456789abcdef"[digit];
  return text;
}

std::string program_tag(int program_fd) {
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_fd, &info, &length) != 0) return "";
  return tag_text(info.tag, sizeof(info.tag));
}

std::string tag_of_link(const Descriptor& link) {
  std::ifstream told("/proc/self/fdinfo/" + std::to_string(link.get()));
  for (std::string name, value; told >> name >> value;)
    if (name == "prog_tag:") return value;
  return "";
}

std::set<std::uint32_t> maps_of_program(int program_fd) {
  constexpr std::size_t kMostMaps = 64;  // of one program, as the kernel has it
  std::array<__u32, kMostMaps> maps{};
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  info.nr_map_ids = maps.size();
  info.map_ids = reinterpret_cast<std::uintptr_t>(maps.data());
  if (bpf_obj_get_info_by_fd(program_fd, &info, &length) != 0) return {};
  return {maps.begin(), maps.begin() + std::min<std::size_t>(info.nr_map_ids, maps.size())};
}

std::optional<Hook> hook_of_type(std::uint32_t type, bool of_interface, Hook likely) {
  const auto has_it = [&](Hook hook) { return is_interface_hook(hook) == of_interface && attach_type(hook) == type; };
  if (has_it(likely)) return likely;
  const auto found = std::find_if(std::begin(kHooks), std::end(kHooks), has_it);
  return found == std::end(kHooks) ? std::nullopt : std::optional(*found);
}

Result<OnTcx> on_tcx(Hook hook, std::uint32_t ifindex) {
  std::array<std::uint32_t, 64> programs{}, links{};  // as many as the kernel lets stand there
  Query attributes{};
  attributes.target_ifindex = ifindex;
  attributes.attach_type = tcx_type(hook);
  attributes.program_ids = reinterpret_cast<std::uintptr_t>(programs.data());
  attributes.link_ids = reinterpret_cast<std::uintptr_t>(links.data());
  attributes.count = programs.size();
  if (bpf_command(BPF_PROG_QUERY, attributes) != 0) {
    if (errno == EINVAL || errno == ENOENT || errno == ENODEV) return OnTcx();
    return system_error("cannot ask for the programs of interface " + std::to_string(ifindex), errno);
  }
  return OnTcx{{programs.begin(), programs.begin() + attributes.count},
               {links.begin(), links.begin() + attributes.count}};
}

Result<std::vector<std::uint32_t>> tcx_programs(Hook hook, std::uint32_t ifindex) {
  auto there = on_tcx(hook, ifindex);
  return there ? std::move(there).value().programs : Result<std::vector<std::uint32_t>>(there.error());
}

Result<std::vector<std::uint32_t>> tcx_links(Hook hook, std::uint32_t ifindex) {
  auto there = on_tcx(hook, ifindex);
  return there ? std::move(there).value().links : Result<std::vector<std::uint32_t>>(there.error());
}

Result<std::vector<std::uint32_t>> cgroup_programs(Hook hook, const Descriptor& cgroup) {
  std::array<std::uint32_t, 64> programs{};  // as many as the kernel lets stand there
  __u32 count = programs.size();
  if (bpf_prog_query(cgroup.get(), cgroup_type(hook), 0, nullptr, programs.data(), &count) != 0)
    return system_error(std::string("cannot ask for the programs of ") + hook_name(hook) + " on a cgroup", errno);
  return std::vector<std::uint32_t>(programs.begin(), programs.begin() + count);
}

Result<void> check_named(Hook hook, int program_fd) {
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_fd, &info, &length) != 0)
    return system_error(std::string("cannot read the name of ") + hook_name(hook), errno);
  if (info.name[0] == '\0') return Error{std::string(hook_name(hook)) + " was loaded without its name"};
  return {};
}

Result<Descriptor> load_guard(Hook hook, std::uint32_t stamp_mask) {
  constexpr int kNext = -1, kDrop = 2;  // TCX_NEXT, TCX_DROP
  constexpr auto kMark = static_cast<std::int16_t>(offsetof(__sk_buff, mark));
  const bpf_insn exit = {BPF_JMP | BPF_EXIT, 0, 0, 0, 0};
  std::vector<bpf_insn> instructions;
  if (hook == Hook::FromUplink)
    instructions = {{BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, kMark, 0},
                    {BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0, 0, static_cast<std::int32_t>(~stamp_mask)},
                    {BPF_STX | BPF_MEM | BPF_W, BPF_REG_1, BPF_REG_2, kMark, 0},
                    {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, kNext},
                    exit};
  else
    instructions = {{BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, kDrop}, exit};
  Descriptor program(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, hook_name(hook), "GPL", instructions.data(),
                                   instructions.size(), nullptr));
  if (!program.valid()) return system_error("cannot load the guard", errno);
  if (auto named = check_named(hook, program.get()); !named) return named.error();
  return program;
}

bool has_tcx() {
  constexpr std::uint32_t kLoopback = 1;
  Query attributes{};
  attributes.target_ifindex = kLoopback;
  attributes.attach_type = kTcxIngress;
  return bpf_command(BPF_PROG_QUERY, attributes) == 0 || errno == ENOENT;
}

std::string link_name(const Attachment& attachment) {
  return std::string(hook_name(attachment.hook)) + "-" +
         std::to_string(is_interface_hook(attachment.hook) ? attachment.ifindex : attachment.cgroup_id);
}

std::optional<Attachment> parse_link_name(const std::string& name) {
  const auto dash = name.rfind('-');
  if (dash == std::string::npos) return std::nullopt;
  for (Hook hook : kHooks) {
    if (name.substr(0, dash) != hook_name(hook)) continue;
    std::uint64_t number = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + dash + 1, end, number);
    if (parsed.ec != std::errc() || parsed.ptr != end) return std::nullopt;
    if (is_interface_hook(hook)) return Attachment{hook, static_cast<std::uint32_t>(number), 0};
    return Attachment{hook, 0, number};
  }
  return std::nullopt;
}

}  // namespace grantd
