#include "agent/ctl/explain/dry_run.h"

#include "maps/abi/flow.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <grantd.skel.h>

#include <cerrno>
#include <cstring>

namespace grantd {

Result<std::unique_ptr<DryRun>> DryRun::load(const std::string& pin_root, const StampSettings& stamp) {
  auto instance = load_second_instance(pin_root, stamp, Instance::DryRun);
  if (!instance) return instance.error();
  return std::unique_ptr<DryRun>(new DryRun(std::move(instance).value()));
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
  verdict.action = options.retval;
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
