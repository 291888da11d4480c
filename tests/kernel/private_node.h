// A node of a test's own: a network namespace with interfaces, a BPF file system, and the datapath
// loaded with two Grants by the agent's own compile, plan and apply. The machine is not touched. The process stays
// in the namespace after that, but where another node lives, which is then in its own again.
#pragma once

#include "agent/apply/applier.h"
#include "agent/apply/bpf_kernel.h"
#include "agent/compile/node_facts.h"
#include "agent/ctl/explain/question.h"
#include "agent/shape/policer.h"
#include "maps/descriptor.h"

#include <memory>
#include <string>
#include <vector>

namespace grantd {

// Guests: bob-web (10.20.0.2, fd00:20::2) and bob-db (10.20.0.3) under Grant keystone-system/bob;
// carol-web (10.20.0.4) under keystone-system/carol, which has ended; orphan (10.20.0.5) in quarantine.
// Uplinks: uplink0 (lan), tail0 (tailnet). Realms: bob-home 192.0.2.0/24 and 2001:db8:b0b::/48 (lan),
// alice-home 198.51.100.0/25 (lan), carol 100.64.9.0/24 (tailnet).
// Grant bob opens 203.0.113.0/24:443/TCP at line 12 of grants.yaml and has 10 Mbit/s of egress.
class PrivateNode {
 public:
  PrivateNode() : PrivateNode(default_state()) {}
  // `more`: interfaces beside the guests' and the uplinks'.
  explicit PrivateNode(DesiredState desired, const Limits& limits = small_tables(),
                       const std::vector<std::string>& more = {});
  ~PrivateNode();
  PrivateNode(const PrivateNode&) = delete;
  PrivateNode& operator=(const PrivateNode&) = delete;

  const std::string& pin_root() const { return pin_root_; }
  const DatapathMaps& maps() const { return datapath_->maps(); }
  Datapath& datapath() { return *datapath_; }
  Attacher& attacher() { return *attacher_; }
  std::uint32_t ifindex(const std::string& interface) const;

  static DesiredState default_state();
  static Limits small_tables();  // of 1,024 flows; all else as by default
  DesiredState& desired() { return desired_; }
  const DesiredState& desired() const { return desired_; }
  NodeFacts& facts() { return node_; }
  // Enforces desired() and facts() as they are now; interfaces that were not there at first are not made. Looks at the
  // kernel before, as the agent does now and then; `look` false: plans from what it believes, as between two looks.
  void apply(bool look = true);
  // Looks at the kernel, as the agent does now and then; returns how many differences it would tell of.
  std::size_t drift();
  // As an agent that starts again on the same pins, with these limits, and with what it remembered of time.
  void restart(const Limits& limits);
  // When apply() last looked at the clock.
  WallTime applied_at() const { return remembered_.now; }
  // As if this node had first seen then that the Grant of this key is revoked.
  void saw_revocation(const std::string& grant, WallTime when) {
    remembered_.revoked_at[grant] = when;
    remembered_.notice_ends.erase(grant);
  }
  // What apply() last compiled.
  const CompiledPolicy& compiled() const { return compiled_; }

  // Runs the datapath itself, which counts and remembers: a guest's first frame to an address.
  // Returns whether it passes.
  bool send(const std::string& guest, const std::string& address, const Probe& probe);
  // The same of an interface that may have no record; `mac` and `source` are what the frame says.
  bool send_from(const std::string& interface, const MacAddress& mac, const IpAddress& source,
                 const std::string& address, const Probe& probe);

 private:
  void make_interfaces(const std::vector<std::string>& more);
  void load(const Limits& limits);

  static inline int living_ = 0;
  Descriptor network_before_;  // namespace
  std::string directory_, pin_root_;
  DesiredState desired_;
  NodeFacts node_;
  TimeFacts remembered_;  // as the agent keeps it on disk
  CompiledPolicy compiled_;
  std::unique_ptr<Datapath> datapath_;
  std::unique_ptr<Attacher> attacher_;
  std::unique_ptr<PolicerShaper> shaper_;  // nothing waits in it: each packet is judged and charged at once
  std::unique_ptr<BpfKernel> kernel_;
  std::unique_ptr<Applier> applier_;
};

}  // namespace grantd
