#include "agent/ctl/explain/dry_run.h"

#include "maps/kernel/datapath_maps.h"
#include "maps/seal_numbers.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <grantd.skel.h>

#include <cerrno>
#include <cstring>

namespace grantd {
namespace {

int say_nothing(libbpf_print_level, const char*, va_list) { return 0; }

}  // namespace

DryRun::~DryRun() {
  if (skeleton_) grantd_bpf__destroy(skeleton_);
}

Result<std::unique_ptr<DryRun>> DryRun::load(const std::string& pin_root, const StampSettings& stamp) {
  std::unique_ptr<DryRun> instance(new DryRun());
  if (auto opened = instance->open(pin_root, stamp); !opened) return opened.error();
  return instance;
}

Result<void> DryRun::open(const std::string& pin_root, const StampSettings& stamp) {
  libbpf_set_print(say_nothing);
  skeleton_ = grantd_bpf__open();
  if (!skeleton_) return system_error("cannot open the BPF object", errno);
  skeleton_->rodata->dry_run = true;
  skeleton_->rodata->stamp_mask = stamp.mask;
  skeleton_->rodata->stamp_identity_mask = stamp.identity_mask;
  skeleton_->rodata->stamp_identity_shift = stamp.identity_shift;
  skeleton_->rodata->stamp_tag = stamp.tag;
  for (bpf_program* program :
       {skeleton_->progs.guest_connect4, skeleton_->progs.guest_connect6, skeleton_->progs.guest_skb_egress,
        skeleton_->progs.guest_skb_ingress, skeleton_->progs.read_tables})
    bpf_program__set_autoload(program, false);
  for (const std::string& name : map_names()) {
    bpf_map* map = bpf_object__find_map_by_name(skeleton_->obj, name.c_str());
    if (!map) return Error{"the BPF object has no map " + name, 0};
    const std::string path = map_pin(pin_root, name);
    const Descriptor pinned(bpf_obj_get(path.c_str()));
    if (!pinned.valid()) return system_error("cannot open " + path, errno);
    if (const int error = bpf_map__reuse_fd(map, pinned.get()); error != 0)
      return system_error("map " + name + ": cannot be used", -error);
  }
  grantd_seal seal{};
  const __u32 only = 0;
  if (bpf_map_lookup_elem(bpf_map__fd(skeleton_->maps.grantd_seal), &only, &seal) != 0)
    return system_error("cannot read " + map_pin(pin_root, "grantd_seal"), errno);
  const SealNumbers numbers = seal_numbers(seal.secret);
  std::copy(numbers.begin(), numbers.end(), std::begin(skeleton_->rodata->seal_numbers));
  if (const int error = grantd_bpf__load(skeleton_); error != 0)
    return system_error("cannot load the datapath for a dry run", -error);
  return {};
}

Result<DryVerdict> DryRun::run(int program_fd, const char* name, const DryPacket& packet) {
  __sk_buff before{}, after{};
  before.mark = packet.mark;
  before.ifindex = packet.ifindex;
  before.ingress_ifindex = packet.ingress_ifindex;
  before.gso_size = packet.gso_size;
  before.gso_segs = packet.gso_segs;
  std::vector<std::uint8_t> out(packet.frame.size() + 256);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.frame.data();
  options.data_size_in = static_cast<__u32>(packet.frame.size());
  options.data_out = out.data();
  options.data_size_out = static_cast<__u32>(out.size());
  options.ctx_in = &before;
  options.ctx_size_in = sizeof(before);
  options.ctx_out = &after;
  options.ctx_size_out = sizeof(after);
  options.repeat = 1;
  std::memset(&skeleton_->bss->grantd_explanation, 0, sizeof(skeleton_->bss->grantd_explanation));
  if (const int error = bpf_prog_test_run_opts(program_fd, &options); error != 0) {
    if (error == -ENODEV)
      return Error{"interface " + std::to_string(packet.ifindex) +
                       " is not in this network namespace; run grantctl where the agent runs",
                   ENODEV};
    return system_error(std::string("cannot run ") + name, -error);
  }
  DryVerdict verdict;
  verdict.mark = after.mark;
  static_assert(sizeof(verdict.explanation) == sizeof(skeleton_->bss->grantd_explanation));
  std::memcpy(&verdict.explanation, &skeleton_->bss->grantd_explanation, sizeof(verdict.explanation));
  if (!verdict.explanation.concluded) return Error{std::string(name) + " came to no conclusion", 0};
  return verdict;
}

Result<DryVerdict> DryRun::from_guest(const DryPacket& packet) {
  return run(bpf_program__fd(skeleton_->progs.from_guest), "from_guest", packet);
}

Result<DryVerdict> DryRun::to_guest(const DryPacket& packet) {
  return run(bpf_program__fd(skeleton_->progs.to_guest), "to_guest", packet);
}

Result<DryVerdict> DryRun::from_uplink(const DryPacket& packet) {
  return run(bpf_program__fd(skeleton_->progs.from_uplink), "from_uplink", packet);
}

}  // namespace grantd
