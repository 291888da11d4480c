// The agent itself: from what changed to what is enforced, over and over.
#pragma once

#include "agent/apply/applier.h"
#include "agent/apply/bpf_kernel.h"
#include "agent/marks/mark_watch.h"
#include "agent/metrics/metrics_server.h"
#include "agent/node/interfaces.h"
#include "agent/run/event_loop.h"
#include "agent/run/node_time.h"
#include "agent/settings/settings.h"
#include "crd-sync/manifest_directory.h"

#include <memory>
#include <set>
#include <string>

namespace grantd {

class Agent {
 public:
  // Loads the datapath, adopts what is attached, and reads the manifests. Enforces nothing new yet.
  static Result<std::unique_ptr<Agent>> start(const Settings& settings);
  // Until SIGTERM or SIGINT. What is attached goes on enforcing.
  Result<void> run();

 private:
  explicit Agent(const Settings& settings) : settings_(settings) {}
  Result<void> load_datapath();
  Result<void> open_sources();
  // Not being able to serve metrics is no reason not to enforce.
  void open_metrics();

  // One pass: read what changed, compile, plan, apply.
  void converge();
  void read_changes();
  void read_node();
  void count_lost(const std::set<Attachment>& before);
  void keep_macs();
  void check_drift();
  void judge_marks();
  PlanFacts plan_facts(const TimeFacts& time) const;
  ApplyReport carry_out(const Plan& plan, const TimeFacts& time);
  void tell_problems(const std::vector<Problem>& problems);
  void publish_status(const CompiledPolicy& compiled);
  void set_alarm(const CompiledPolicy& compiled, const TimeFacts& time, const Plan& plan, bool complete);

  Settings settings_;
  EventLoop loop_;
  std::unique_ptr<Datapath> datapath_;
  std::unique_ptr<Attacher> attacher_;
  std::unique_ptr<BpfKernel> kernel_;
  std::unique_ptr<Applier> applier_;
  std::optional<ManifestDirectory> manifests_;
  std::optional<InterfaceWatch> interfaces_;
  std::optional<NodeTime> time_;
  std::unique_ptr<MarkWatch> marks_;

  bool manifests_changed_ = true, interfaces_changed_ = true, marks_due_ = true;
  DesiredState desired_;
  NodeFacts node_;
  std::vector<Problem> mark_problems_;
  std::set<std::string> told_;  // problems that were logged and still hold
  BootNanoseconds drift_due_ = 0;
  BootNanoseconds retry_ns_ = 0;  // back-off after a failed step
  bool applied_once_ = false;
  AgentStatus status_;
  std::unique_ptr<MetricsServer> metrics_;
};

}  // namespace grantd
