#include "agent/ctl/verify/program_differences.h"

#include "agent/attach/attacher.h"
#include "agent/attach/links.h"
#include "agent/ctl/explain/second_instance.h"
#include "maps/descriptor.h"
#include "maps/kernel/datapath_maps.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <grantd.skel.h>

#include <cerrno>
#include <optional>
#include <set>
#include <utility>

namespace grantd {
namespace {

// What decides how a program judges. A global variable that it writes is none of it.
struct Program {
  std::string tag;               // a digest of its instructions as they were loaded, without maps' ids
  std::set<std::uint32_t> maps;  // of those that are pinned, by id
  std::set<std::uint32_t> own;   // those of its constants and variables, by id
};

// Of those that are pinned, which our instance works on.
Result<std::set<std::uint32_t>> pinned_maps(const ::grantd_bpf& ours) {
  std::set<std::uint32_t> ids;
  for (const std::string& name : map_names()) {
    auto id = map_id(bpf_object__find_map_fd_by_name(ours.obj, name.c_str()));
    if (!id) return id.error();
    ids.insert(id.value());
  }
  return ids;
}

Result<Program> program_of(int fd, const std::set<std::uint32_t>& pinned) {
  Program program;
  program.tag = program_tag(fd);
  if (program.tag.empty()) return system_error("cannot read the program", errno);
  for (const std::uint32_t id : maps_of_program(fd)) (pinned.contains(id) ? program.maps : program.own).insert(id);
  return program;
}

using Constants = std::vector<std::uint8_t>;

// Nothing where the map is none of constants. libbpf names it by the object's name, cut short, and the section's.
Result<std::optional<Constants>> constants_in(int map) {
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map, &info, &length) != 0) return system_error("cannot read the program's maps", errno);
  if (!std::string(info.name).ends_with(".rodata")) return std::optional<Constants>();
  const __u32 only = 0;
  Constants constants(info.value_size);
  if (bpf_map_lookup_elem(map, &only, constants.data()) != 0)
    return system_error("cannot read the program's constants", errno);
  return std::optional(std::move(constants));
}

// EPERM: this process may open no map but by its pin.
Result<Constants> constants_of(const Program& program) {
  for (const std::uint32_t id : program.own) {
    const Descriptor map(bpf_map_get_fd_by_id(id));
    if (!map.valid()) return system_error("cannot open the program's constants", errno);
    auto constants = constants_in(map.get());
    if (!constants) return constants.error();
    if (constants.value()) return std::move(*constants.value());
  }
  return Constants{};
}

// "" where it is ours, but for its constants.
std::string difference(const Program& pinned, const Program& ours) {
  if (pinned.tag != ours.tag)
    return "its instructions are not this grantctl's (tag " + pinned.tag + ", this one's " + ours.tag +
           "): another version's, or somebody else's";
  if (pinned.maps != ours.maps || pinned.own.size() != ours.own.size())
    return "it works on other maps than those that are pinned";
  return "";
}

class Comparison {
 public:
  Comparison(const ::grantd_bpf& ours, std::set<std::uint32_t> pinned, Constants constants)
      : ours_(ours), pinned_(std::move(pinned)), constants_(std::move(constants)) {}

  Result<void> look(Hook hook, const std::string& path) {
    const bpf_program* program = bpf_object__find_program_by_name(ours_.obj, hook_name(hook));
    if (!program) return Error{std::string("the BPF object has no program ") + hook_name(hook), 0};
    auto ours = program_of(bpf_program__fd(program), pinned_);
    if (!ours) return ours.error();
    const Descriptor descriptor(bpf_obj_get(path.c_str()));
    if (!descriptor.valid()) return system_error("cannot open " + path, errno);
    auto pinned = program_of(descriptor.get(), pinned_);
    if (!pinned) return pinned.error();
    std::string said = difference(pinned.value(), ours.value());
    if (said.empty()) said = constants_differ(pinned.value());
    if (!said.empty()) found_.wrong.push_back(path + ": " + said);
    return {};
  }

  ProgramDifferences found() && { return std::move(found_); }

 private:
  std::string constants_differ(const Program& pinned) {
    if (pinned.own.empty()) return "";  // it reads none
    const auto constants = constants_of(pinned);
    if (!constants && constants.error().error_number == EPERM) {
      found_.constants_compared = false;
      return "";
    }
    if (!constants) return constants.error().message;
    if (constants.value() == constants_) return "";
    return "its constants (the stamp's bits, the numbers of the seal, whether it is a dry run) are not those of the "
           "agent here";
  }

  const ::grantd_bpf& ours_;
  const std::set<std::uint32_t> pinned_;
  const Constants constants_;
  ProgramDifferences found_;
};

}  // namespace

Result<ProgramDifferences> program_differences(const std::string& pin_root, const StampSettings& stamp) {
  auto instance = load_second_instance(pin_root, stamp, Instance::AsAttached);
  if (!instance) return instance.error();
  auto pinned = pinned_maps(*instance.value());
  if (!pinned) return pinned.error();
  auto constants = constants_in(bpf_map__fd(instance.value()->maps.rodata));
  if (!constants) return constants.error();
  if (!constants.value()) return Error{"the BPF object has no constants", 0};
  Comparison comparison(*instance.value(), std::move(pinned).value(), std::move(*constants.value()));
  for (const Hook hook : kHooks)
    if (auto looked = comparison.look(hook, program_pin(pin_root, hook_name(hook))); !looked) return looked.error();
  return std::move(comparison).found();
}

}  // namespace grantd
