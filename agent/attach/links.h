// BPF links, by the system call: libbpf 1.1 knows no tcx, and Debian 12's headers neither.
#pragma once

#include "agent/plan/attachment.h"
#include "maps/abi/identity.h"
#include "maps/descriptor.h"
#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace grantd {

struct LinkInfo {
  std::uint32_t link_id = 0;
  std::uint32_t program_id = 0;
  std::uint32_t attach_type = 0;  // of the kernel: which hook of the interface or cgroup
  std::uint32_t ifindex = 0;      // tcx; in the interface's own network namespace. 0: the interface is gone
  std::uint64_t cgroup_id = 0;    // cgroup; 0: its cgroup is gone
};

bool is_interface_hook(Hook hook);

// At the head of the hook's programs. It ends with its last descriptor and pin.
Result<Descriptor> create_tcx_link(Hook hook, std::uint32_t ifindex, int program_fd);
Result<Descriptor> create_cgroup_link(Hook hook, std::uint64_t cgroup_id, int program_fd);
// What is pinned there, if it is a link. Not valid with errno ENOENT where nothing is, or something that is no link:
// asked for its link's facts, a map would answer with its own.
Descriptor open_link(const std::string& path);
Result<LinkInfo> link_info(int link_fd);
// What the kernel calls the instructions of a program, in hexadecimal digits; "" where it does not say. For a link's
// the program need not be opened, which takes CAP_SYS_ADMIN.
std::string program_tag(int program_fd);
std::string tag_text(const std::uint8_t* bytes, std::size_t count);  // as of a program
std::string tag_of_link(const Descriptor& link);
// Ids of the maps that a program works on; none where the kernel does not say.
std::set<std::uint32_t> maps_of_program(int program_fd);
// The hook that has this kind of attachment: `likely` if it has, as several of ours stand on ingress.
std::optional<Hook> hook_of_type(std::uint32_t attach_type, bool of_interface, Hook likely);
// What stands on a tcx hook, in the order in which it runs: ids of programs, and of each one's link, or 0.
struct OnTcx {
  std::vector<std::uint32_t> programs, links;
};
// Without tcx: nothing.
Result<OnTcx> on_tcx(Hook hook, std::uint32_t ifindex);
// Ids of the links on a tcx hook, in the order in which their programs run; 0 for a program without a link. Without
// tcx: none.
Result<std::vector<std::uint32_t>> tcx_links(Hook hook, std::uint32_t ifindex);
// Program ids on a tcx hook, in the order in which they run. Without tcx: none.
Result<std::vector<std::uint32_t>> tcx_programs(Hook hook, std::uint32_t ifindex);
// Program ids on a hook of a cgroup.
Result<std::vector<std::uint32_t>> cgroup_programs(Hook hook, const Descriptor& cgroup);
// An error for a program without a name. libbpf leaves it out where it could not find out whether the kernel takes one,
// as for want of memory; then nobody would know the filter as ours, and so nobody would remove it.
Result<void> check_named(Hook hook, int program_fd);
// Holds the place of ours until it comes: drops everything, or on an uplink lets everything pass as nobody's, by taking
// the bits of `stamp_mask` from its mark: a packet out of a tunnel bears the stamp of the outer one. Bears the name of
// ours, by which a filter is recognised.
Result<Descriptor> load_guard(Hook hook, std::uint32_t stamp_mask = GRANTD_STAMP_MASK_DEFAULT);
// Whether this kernel has tcx, found out by asking the loopback interface.
bool has_tcx();

// Pins are PINROOT/links/HOOK-INDEX, or HOOK-CGROUP_ID.
std::string link_name(const Attachment& attachment);
std::optional<Attachment> parse_link_name(const std::string& name);

}  // namespace grantd
