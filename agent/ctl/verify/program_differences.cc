#include "agent/ctl/verify/program_differences.h"

#include "agent/attach/attacher.h"
#include "agent/ctl/explain/second_instance.h"
#include "maps/descriptor.h"
#include "maps/kernel/datapath_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <grantd.skel.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <set>

namespace grantd {
namespace {

// What decides how a program judges. A global variable that it writes is none of it.
struct Program {
  std::array<std::uint8_t, BPF_TAG_SIZE> tag{};  // a digest of its instructions as they were loaded, without maps' ids
  std::set<std::uint32_t> map_ids;               // without those of its own constants and variables
  std::vector<std::uint8_t> constants;
};

bool ends_with_section(const bpf_map_info& info, const std::string& section) {
  return std::string(info.name).ends_with(section);
}

// libbpf names a section's map by the object's name, cut short, and the section's.
Result<void> add_map(std::uint32_t id, Program& program) {
  const Descriptor map(bpf_map_get_fd_by_id(id));
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (!map.valid() || bpf_obj_get_info_by_fd(map.get(), &info, &length) != 0)
    return system_error("cannot read the program's map of id " + std::to_string(id), errno);
  if (ends_with_section(info, ".rodata")) {
    const __u32 only = 0;
    program.constants.resize(info.value_size);
    if (bpf_map_lookup_elem(map.get(), &only, program.constants.data()) != 0)
      return system_error("cannot read the program's constants", errno);
  } else if (!ends_with_section(info, ".bss")) {
    program.map_ids.insert(id);
  }
  return {};
}

Result<Program> program_of(int fd) {
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return system_error("cannot read the program", errno);
  Program program;
  std::copy(std::begin(info.tag), std::end(info.tag), program.tag.begin());
  std::vector<std::uint32_t> maps(info.nr_map_ids);
  bpf_prog_info again{};
  again.nr_map_ids = info.nr_map_ids;
  again.map_ids = reinterpret_cast<__u64>(maps.data());
  length = sizeof(again);
  if (!maps.empty() && bpf_obj_get_info_by_fd(fd, &again, &length) != 0)
    return system_error("cannot read the program's maps", errno);
  for (std::uint32_t id : maps)
    if (auto added = add_map(id, program); !added) return added.error();
  return program;
}

std::string tag_text(const Program& program) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : program.tag) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

// "" where it is ours.
std::string difference(const Program& pinned, const Program& ours) {
  if (pinned.tag != ours.tag)
    return "its instructions are not this grantctl's (tag " + tag_text(pinned) + ", this one's " + tag_text(ours) +
           "): another version's, or somebody else's";
  if (pinned.map_ids != ours.map_ids) return "it works on other maps than those that are pinned";
  if (pinned.constants != ours.constants)
    return "its constants (the stamp's bits, the numbers of the seal, whether it is a dry run) are not those of the "
           "agent here";
  return "";
}

}  // namespace

Result<std::vector<std::string>> program_differences(const std::string& pin_root, const StampSettings& stamp) {
  auto instance = load_second_instance(pin_root, stamp, Instance::AsAttached);
  if (!instance) return instance.error();
  std::vector<std::string> wrong;
  for (const Hook hook : kHooks) {
    const std::string path = program_pin(pin_root, hook_name(hook));
    const bpf_program* program = bpf_object__find_program_by_name(instance.value()->obj, hook_name(hook));
    if (!program) return Error{std::string("the BPF object has no program ") + hook_name(hook), 0};
    auto ours = program_of(bpf_program__fd(program));
    if (!ours) return ours.error();
    const Descriptor descriptor(bpf_obj_get(path.c_str()));
    if (!descriptor.valid()) return system_error("cannot open " + path, errno);
    auto pinned = program_of(descriptor.get());
    if (!pinned) {
      wrong.push_back(path + ": " + pinned.error().message);
      continue;
    }
    if (const std::string said = difference(pinned.value(), ours.value()); !said.empty())
      wrong.push_back(path + ": " + said);
  }
  return wrong;
}

}  // namespace grantd
