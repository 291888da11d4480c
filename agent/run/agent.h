// The agent itself: from what changed to what is enforced, over and over.
#pragma once

#include "agent/apply/applier.h"
#include "agent/apply/bpf_kernel.h"
#include "agent/guests/guest_finder.h"
#include "agent/marks/mark_watch.h"
#include "agent/node/interfaces.h"
#include "agent/node/node_time.h"
#include "agent/run/cluster_report.h"
#include "agent/run/event_loop.h"
#include "agent/run/keep_chain.h"
#include "agent/run/keep_gate.h"
#include "agent/run/lost_programs.h"
#include "agent/run/retry.h"
#include "agent/run/served_metrics.h"
#include "agent/settings/settings.h"
#include "agent/shape/guest_segments.h"
#include "crd-sync/predecessors.h"
#include "crd-sync/source.h"
#include "maps/descriptor.h"

#include <memory>
#include <set>
#include <string>

namespace grantd {

class Agent {
 public:
  // Loads the datapath, adopts what is attached, and opens the source. Enforces nothing new yet.
  static Result<std::unique_ptr<Agent>> start(const Settings& settings);
  // Until SIGTERM or SIGINT. What is attached goes on enforcing.
  Result<void> run();
  // After run(), before the process ends: see BpfKernel.
  Result<void> leave() { return kernel_->leave(); }

 private:
  explicit Agent(const Settings& settings)
      : settings_(settings),
        gate_(settings.pin_root, settings.stamp_mask),
        metrics_(settings.listen, settings.pin_root) {}
  Result<void> load_datapath();
  Result<void> open_sources();
  Result<void> watch_sources();

  bool is_due() const;
  // When each part of one pass was over.
  struct PassTimes {
    BootNanoseconds begin = 0, read = 0, compiled = 0, planned = 0;
  };

  // One pass: read what changed, compile, plan, apply.
  void converge();
  void read_changes();
  void read_node();
  void read_source();
  void tell_of_lost(const std::string& what, std::uint64_t lost);
  void check_drift();
  void judge_marks();
  PlanFacts plan_facts(const TimeFacts& time) const;
  // `plan`: what was planned last.
  ApplyReport carry_out(const CompiledPolicy& compiled, const TimeFacts& time, PassTimes times, Plan& plan);
  ApplyReport carry_out_once(const Plan& plan, const TimeFacts& time, const PassTimes& times);
  std::optional<Problem> keep_source(const CompiledPolicy& compiled, const ApplyReport& report, bool writes);
  // After the programs, whose marks it asks for. False: to be tried again.
  bool gate_guests(std::vector<Problem>& problems);
  void keep_segments(const CompiledPolicy& compiled);
  bool may_vouch() const;
  bool hand_over(std::vector<Problem>& problems);  // false: to be tried again
  void tell_problems(const std::vector<Problem>& problems);
  void publish_status();
  void publish_metrics();
  // `waiting`: as ApplyReport has it.
  void report_to_cluster(const CompiledPolicy& compiled, const Plan& plan, const TimeFacts& time,
                         const std::set<std::string>& waiting);
  BootNanoseconds next_due(const CompiledPolicy& compiled, const TimeFacts& time, const Plan& plan, bool complete);
  void set_alarm(BootNanoseconds due);

  Settings settings_;
  Descriptor state_dir_;  // locked
  EventLoop loop_;
  std::unique_ptr<Datapath> datapath_;
  std::unique_ptr<Attacher> attacher_;
  ChosenShaper shaper_;
  Gate gate_;
  std::optional<GateWatch> gate_watch_;  // nothing where the kernel has no nf_tables
  GuestSegments segments_;
  std::unique_ptr<BpfKernel> kernel_;
  std::unique_ptr<Applier> applier_;
  std::unique_ptr<Source> source_;
  KubernetesSource* api_ = nullptr;      // source_, with Kubernetes
  std::optional<GuestFinder> guests_;    // with Kubernetes
  std::optional<ClusterReport> report_;  // with Kubernetes
  std::optional<ChainKeeper> chain_;
  std::optional<InterfaceWatch> interfaces_;
  std::optional<NodeTime> time_;
  std::unique_ptr<MarkWatch> marks_;

  bool source_changed_ = true, interfaces_changed_ = true, records_changed_ = true, clock_changed_ = true;
  bool marks_due_ = true, marks_changed_ = false, chain_due_ = false, gate_due_ = true;
  // Nothing before the source has said everything once: then nothing is planned, and what is pinned goes on.
  std::optional<DesiredState> desired_;
  Predecessors predecessors_;
  BootNanoseconds alarm_ = 0;  // when to look again though nothing has happened
  NodeFacts node_;
  bool node_read_ = false;
  std::set<std::uint32_t> gone_;  // indices whose interface has ended, until a plan has heard of it
  std::vector<Problem> mark_problems_;
  bool vouches_ = false;        // for the ordinary namespaces of the record
  std::set<std::string> told_;  // problems that were logged and still hold
  BootNanoseconds drift_due_ = 0;
  Retry retry_{GRANTD_NS_PER_SECOND, 30 * GRANTD_NS_PER_SECOND};
  bool carried_out_once_ = false;  // a plan, whether or not all of it was done
  bool applied_once_ = false;
  bool guests_waited_ = false;   // new ones, for the edit that was carried out last
  bool failed_before_ = false;   // something in the pass before
  bool cgroup_awaited_ = false;  // of a guest on the host network, that its kubelet has not made yet
  unsigned passes_unwritten_ = 0;
  AgentStatus status_;
  ServedMetrics metrics_;
};

}  // namespace grantd
