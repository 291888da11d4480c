#include "agent/ctl/explain/second_instance.h"

#include "agent/apply/program_constants.h"
#include "maps/descriptor.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

namespace grantd {
namespace {

int say_nothing(libbpf_print_level, const char*, va_list) { return 0; }

Result<void> use_pinned_maps(const std::string& pin_root, ::grantd_bpf& skeleton) {
  for (const std::string& name : map_names()) {
    bpf_map* map = bpf_object__find_map_by_name(skeleton.obj, name.c_str());
    if (!map) return Error{"the BPF object has no map " + name, 0};
    const std::string path = map_pin(pin_root, name);
    const Descriptor pinned(bpf_obj_get(path.c_str()));
    if (!pinned.valid()) return system_error("cannot open " + path, errno);
    if (const int error = bpf_map__reuse_fd(map, pinned.get()); error != 0)
      return system_error("map " + name + ": cannot be used", -error);
  }
  return {};
}

Result<void> take_secret(const std::string& pin_root, ::grantd_bpf& skeleton) {
  grantd_seal seal{};
  const __u32 only = 0;
  if (bpf_map_lookup_elem(bpf_map__fd(skeleton.maps.grantd_seal), &only, &seal) != 0)
    return system_error("cannot read " + map_pin(pin_root, "grantd_seal"), errno);
  set_secret(skeleton, seal.secret);
  return {};
}

}  // namespace

void DestroySkeleton::operator()(::grantd_bpf* skeleton) const { grantd_bpf__destroy(skeleton); }

Result<SecondInstance> load_second_instance(const std::string& pin_root, const StampSettings& stamp,
                                            Instance instance) {
  libbpf_set_print(say_nothing);
  SecondInstance skeleton(grantd_bpf__open());
  if (!skeleton) return system_error("cannot open the BPF object", errno);
  skeleton->rodata->dry_run = instance == Instance::DryRun;
  set_stamp(*skeleton, stamp);
  if (instance == Instance::DryRun)
    for (bpf_program* program : {skeleton->progs.guest_connect4, skeleton->progs.guest_connect6,
                                 skeleton->progs.guest_skb_egress, skeleton->progs.guest_skb_ingress})
      bpf_program__set_autoload(program, false);
  for (bpf_program* agents : {skeleton->progs.read_tables, skeleton->progs.settle_buckets})
    bpf_program__set_autoload(agents, false);
  if (auto used = use_pinned_maps(pin_root, *skeleton); !used) return used.error();
  if (auto taken = take_secret(pin_root, *skeleton); !taken) return taken.error();
  if (const int error = grantd_bpf__load(skeleton.get()); error != 0)
    return system_error("cannot load the datapath a second time", -error);
  return skeleton;
}

}  // namespace grantd
