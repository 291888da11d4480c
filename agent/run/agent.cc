#include "agent/run/agent.h"

#include "agent/attach/pin_lock.h"
#include "agent/compile/compile.h"
#include "agent/guests/guest_cgroups.h"
#include "agent/handover/guest_namespaces.h"
#include "agent/marks/collisions.h"
#include "agent/node/local_routes.h"
#include "agent/plan/in_force.h"
#include "agent/run/cluster_handover.h"
#include "agent/run/log.h"
#include "agent/run/open_source.h"
#include "agent/run/tell_grantctl.h"
#include "crd-sync/kubernetes/guest_pattern.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <random>
#include <utility>

namespace grantd {

namespace {

constexpr BootNanoseconds kDriftEvery = 30 * GRANTD_NS_PER_SECOND;
constexpr BootNanoseconds kAskedAgain = 2 * GRANTD_NS_PER_SECOND;  // a source that has told nothing yet
constexpr BootNanoseconds kReportAgain = GRANTD_NS_PER_SECOND / 10;
constexpr BootNanoseconds kCgroupAwaited = GRANTD_NS_PER_SECOND;  // of a guest on the host network
constexpr unsigned kUnwrittenAtMost = 8;

AttachMode mode_of(AttachSetting setting) {
  switch (setting) {
    case AttachSetting::Tcx:
      return AttachMode::Tcx;
    case AttachSetting::Clsact:
      return AttachMode::Clsact;
    case AttachSetting::Auto:
      break;
  }
  return AttachMode::Auto;
}

std::int64_t wall_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

// A change of many Grants takes some megabytes for a moment; they are no use to the agent afterwards.
void return_memory() {
  constexpr std::size_t kWorthIt = 2U << 20;
  if (mallinfo2().fordblks > kWorthIt) malloc_trim(0);
}

// Never 0.
std::uint32_t random_secret() {
  std::random_device source;
  std::uint32_t secret = 0;
  while (secret == 0) secret = source();
  return secret;
}

}  // namespace

Result<std::unique_ptr<Agent>> Agent::start(const Settings& settings) {
  // One heap: each thread that serves metrics would keep one of its own, as large as the largest scrape.
  mallopt(M_ARENA_MAX, 1);
  std::unique_ptr<Agent> agent(new Agent(settings));
  auto locked = lock_state_dir(settings.state_dir);
  if (!locked) return locked.error();
  agent->state_dir_ = std::move(locked).value();
  if (auto disowned = disown_ordinary_namespaces(settings.state_dir); !disowned) return disowned.error();
  auto loop = EventLoop::open();
  if (!loop) return loop.error();
  agent->loop_ = std::move(loop).value();
  if (auto loaded = agent->load_datapath(); !loaded) return loaded.error();
  if (auto opened = agent->open_sources(); !opened) return opened.error();
  agent->status_.sources.push_back({agent->source_->kind(), 0, 0, {}});
  agent->metrics_.turn();
  return agent;
}

Result<void> Agent::load_datapath() {
  DatapathOptions options;
  options.pin_root = settings_.pin_root;
  options.stamp_mask = settings_.stamp_mask;
  options.limits = settings_.limits;
  auto datapath = Datapath::load(options);
  if (!datapath) return datapath.error();
  datapath_ = std::move(datapath).value();
  attacher_ = std::make_unique<Attacher>(settings_.pin_root, mode_of(settings_.attach), settings_.stamp_mask);
  std::map<Hook, int> programs;
  for (const auto& [hook, program] : datapath_->programs()) programs[hook] = program.fd;
  auto adopted = attacher_->adopt(programs);
  if (!adopted) return adopted.error();
  auto shaper = choose_shaper(settings_.shaper, settings_.pin_root);
  if (!shaper) return shaper.error();
  shaper_ = std::move(shaper).value();
  kernel_ = std::make_unique<BpfKernel>(*datapath_, *attacher_, *shaper_.shaper);
  applier_ = std::make_unique<Applier>(*kernel_);
  if (auto read = applier_->refresh(boot_now()); !read) return read.error();
  const KernelState& found = applier_->state();
  if (found.node.stamp_mask != settings_.stamp_mask && !found.endpoints.empty()) {
    // Packets bear another stamp from now on, which the gate asks for. What is wrong the first pass tells.
    std::vector<Problem> untold;
    if (auto interfaces = read_interfaces()) (void)keep_gate(gate_, true, found, interfaces.value(), status_, untold);
  }
  log_info("datapath loaded", {{"pin_root", settings_.pin_root},
                               {"adopted", std::to_string(adopted.value())},
                               {"shaper", shaper_.shaper->mode() == GRANTD_SHAPER_HTB ? "htb" : "policer"},
                               {"because", shaper_.why}});
  return {};
}

Result<void> Agent::open_sources() {
  auto time = NodeTime::open(settings_.state_dir, settings_.trust_clock, applier_->state().node.boot_to_wall_ns);
  if (!time) return time.error();
  time_.emplace(std::move(time).value());
  auto interfaces = InterfaceWatch::open();
  if (!interfaces) return interfaces.error();
  interfaces_.emplace(std::move(interfaces).value());
  auto source = open_source(settings_);
  if (!source) return source.error();
  source_ = std::move(source.value().source);
  api_ = source.value().api;
  if (KubernetesSource* api = api_) {
    report_.emplace(settings_.node, *api, datapath_->maps());
    auto guests = GuestFinder::open(settings_.cni_records, settings_.cni_cache, settings_.cri_socket);
    if (!guests) return guests.error();
    guests_.emplace(std::move(guests).value());
  }
  auto chain = open_chain(settings_);
  if (!chain) return chain.error();
  chain_ = std::move(chain).value();
  auto marks = MarkWatch::open();
  if (!marks) return marks.error();
  marks_ = std::move(marks).value();
  return watch_sources();
}

Result<void> Agent::watch_sources() {
  if (auto watch = GateWatch::open(); watch) {  // where there is none the gate says so, over and over
    gate_watch_ = std::move(watch).value();
    auto watched = loop_.watch(gate_watch_->fd(), [this] { gate_due_ |= gate_watch_->drain(); });
    if (!watched) return watched;
  }
  if (auto watched = loop_.watch(marks_->fd(), [this] { judge_marks(); }); !watched) return watched;
  if (auto watched = loop_.watch(time_->fd(), [this] { clock_changed_ |= time_->drain(); }); !watched) return watched;
  if (auto watched = loop_.watch(interfaces_->fd(), [this] { interfaces_changed_ |= interfaces_->drain(); }); !watched)
    return watched;
  for (int fd : source_->fds())
    if (auto watched = loop_.watch(fd, [this] { source_changed_ |= source_->drain(); }); !watched) return watched;
  for (int fd : chain_ ? chain_->fds() : std::vector<int>())
    if (auto watched = loop_.watch(fd, [this] { chain_due_ |= chain_->drain(); }); !watched) return watched;
  if (!guests_) return {};
  for (int fd : guests_->fds())
    if (auto watched = loop_.watch(fd, [this] { records_changed_ |= guests_->drain(); }); !watched) return watched;
  return {};
}

Result<void> Agent::run() {
  log_info("grantd " GRANTD_VERSION " runs", {{"node", settings_.node}, {source_->kind(), source_->place()}});
  while (true) {
    if (is_due()) {
      converge();
      return_memory();
    }
    if (report_) report_->drive();
    metrics_.turn();
    // What of a report is due, and cannot be yet, is looked at again soon, and not all the time.
    const BootNanoseconds report_due = report_ ? std::max(report_->next_due(), boot_now() + kReportAgain) : alarm_;
    loop_.set_alarm(std::min({alarm_, metrics_.next_due(), report_due}));
    auto woken = loop_.wait();
    if (!woken) return woken.error();
    if (woken.value() == EventLoop::Woken::Stop) break;
    if (woken.value() != EventLoop::Woken::Reload) continue;
    source_changed_ = interfaces_changed_ = marks_due_ = chain_due_ = true;
    drift_due_ = 0;
  }
  log_info("grantd stops; what is attached goes on enforcing");
  return {};
}

// An API server says much that changes nothing here.
bool Agent::is_due() const {
  return source_changed_ || interfaces_changed_ || records_changed_ || clock_changed_ || marks_changed_ || chain_due_ ||
         gate_due_ || boot_now() >= alarm_ || (desired_ && vouches_ != may_vouch()) ||
         (report_ && applied_once_ && report_->is_due(boot_now()));
}

void Agent::read_node() {
  node_.uplink_rules = settings_.uplinks;
  node_.pod_cidrs = settings_.pod_cidrs;
  node_.service_cidrs = settings_.service_cidrs;
  gone_.merge(interfaces_->take_gone());  // what is read now is newer
  auto read = read_interfaces();
  auto routes = read_local_routes();
  if (read && routes) {
    node_.interfaces = std::move(read).value();
    node_.local_routes = std::move(routes).value();
    node_read_ = true;
    interfaces_changed_ = false;
  } else {
    log_error("cannot read the interfaces; what is known of them stays",
              {{"error", read ? routes.error().message : read.error().message}});
  }
  const std::set<Attachment> before = applier_->state().attachments;
  auto queues_lost = applier_->refresh_attachments();
  if (!queues_lost) {
    log_error("cannot read the attachments", {{"error", queues_lost.error().message}});
    interfaces_changed_ = true;  // what was taken away is not attached again before this is read
  }
  tell_of_lost("programs or their pins",
               attacher_->take_lost_pins() + lost_programs(before, applier_->state().attachments, node_.interfaces));
  tell_of_lost("classes of the queues", queues_lost ? queues_lost.value() : 0);
  const ShaperState& queues = applier_->state().shaper;  // our own interfaces are nobody's uplink
  std::erase_if(node_.interfaces, [&](const InterfaceFact& each) {
    return each.ifindex == queues.queue_ifindex || each.ifindex == queues.release_ifindex;
  });
  keep_macs(applier_->state(), node_.interfaces);
}

void Agent::tell_of_lost(const std::string& what, std::uint64_t lost) {
  status_.drift_repaired += lost;
  if (lost > 0)
    log_warning(what + " are not where they were left; putting them there again", {{"count", std::to_string(lost)}});
}

void Agent::read_source() {
  source_changed_ = false;
  if (api_) api_->know(guests_->closed_pods());
  auto desired = source_->load();
  if (!desired) return;
  desired_ = std::move(desired);
  predecessors_.tell(desired_->grants);
  const bool wrong =
      std::ranges::any_of(desired_->problems, [](const Problem& each) { return each.severity == Severity::Error; });
  if (wrong)
    status_.sources[0].errors++;
  else
    status_.sources[0].last_success_seconds = wall_seconds();
}

void Agent::read_changes() {
  source_changed_ |= api_ && records_changed_;  // who has one is a guest
  const bool find = source_changed_ || interfaces_changed_;
  clock_changed_ = records_changed_ = marks_changed_ = false;
  if (interfaces_changed_) read_node();
  if (source_changed_) read_source();
  if (!desired_) return;
  if (guests_ && find) {
    guests_->find(desired_->workloads, node_);
    guests_->look_for_unknown(desired_->workloads, boot_now(), [this](const std::string& name) {
      return realm_of_namespace(settings_.guest_namespaces, name) || desired_->labelled_namespaces.contains(name);
    });
  }
  if (guests_) guests_->look_for_unfound(desired_->workloads, node_, boot_now());
  // Cgroups come and go without a word; there are few.
  cgroup_awaited_ = !find_cgroups(desired_->workloads, node_);
}

void Agent::check_drift() {
  const BootNanoseconds now = boot_now();
  if (now < drift_due_) return;
  drift_due_ = now + kDriftEvery;
  marks_due_ = chain_due_ = gate_due_ = true;
  interfaces_changed_ = true;  // a guest's end changes in another namespace, without a word here
  source_->look();
  if (!carried_out_once_) return;
  auto pins = datapath_->mend_pins();
  if (!pins) {
    log_error("cannot pin again what somebody has unpinned", {{"error", pins.error().message}});
  } else if (pins.value() > 0) {
    status_.drift_repaired += pins.value();
    log_warning("pins of maps or programs were not as they were left; pinned again",
                {{"count", std::to_string(pins.value())}});
  }
  auto drift = applier_->refresh(now);
  if (!drift) {
    log_error("cannot read the maps", {{"error", drift.error().message}});
  } else if (drift.value() > 0) {
    status_.drift_repaired += drift.value();
    log_warning("the kernel is not as it was left; mending it", {{"differences", std::to_string(drift.value())}});
  }
}

void Agent::judge_marks() {
  if (!marks_->drain()) return;
  marks_changed_ = true;
  const auto stamp = stamp_settings(settings_.stamp_mask);
  if (!stamp) return;  // the datapath would not have loaded
  mark_problems_ = stamp_collisions(stamp.value(), *marks_->facts());
  status_.stamp_collisions = mark_problems_.size();
  for (Problem& problem : unread_marks(*marks_->facts())) mark_problems_.push_back(std::move(problem));
}

PlanFacts Agent::plan_facts(const TimeFacts& time) const {
  PlanFacts facts;
  facts.now = time.boot_now;
  facts.cpus = configured_cpus();
  for (const InterfaceFact& each : node_.interfaces) facts.interfaces.insert(each.ifindex);
  facts.gone = gone_;
  facts.slots = datapath_->slots();
  facts.node = settings_.node;
  facts.version = GRANTD_VERSION;
  facts.manifests = source_->place();
  facts.stamp_mask = settings_.stamp_mask;
  facts.pid = static_cast<std::uint32_t>(getpid());
  facts.boot_to_wall_ns = time_->boot_to_wall_ns();
  facts.clock_trusted = time.trusted;
  facts.shaper = shaper_.shaper->mode();
  facts.shaper_why = shaper_.why;
  facts.shaper_secret = random_secret();
  return facts;
}

bool Agent::gate_guests(std::vector<Problem>& problems) {
  const bool look = std::exchange(gate_due_, false);
  return node_read_ && keep_gate(gate_, look, applier_->state(), node_.interfaces, status_, problems);
}

// A comfort, after everything that enforces.
void Agent::keep_segments(const CompiledPolicy& compiled) {
  const auto wanted = wanted_segments(compiled, shaper_.shaper->mode() == GRANTD_SHAPER_HTB);
  for (const std::string& failure : segments_.keep(wanted, node_.interfaces, boot_now()))
    log_info("a guest goes on sending large packets, which wait for longer under its limit", {{"because", failure}});
}

// Not while what is in force is a deleted Grant's: the next agent finds that out from what was kept before.
std::optional<Problem> Agent::keep_source(const CompiledPolicy& compiled, const ApplyReport& report, bool writes) {
  const auto is_due = [&](const std::string& key) { return report.due.contains(grant_subject(key)); };
  predecessors_.carried_out(
      desired_->grants,
      [&](const std::string& key) {
        return std::ranges::any_of(compiled.refused, [&](const RefusedGrant& each) { return each.key == key; });
      },
      is_due);
  const bool succeeds =
      std::ranges::any_of(desired_->grants, [&](const Grant& each) { return each.made_anew && is_due(each.key()); });
  return succeeds || !writes ? std::nullopt : source_->keep();
}

// For namespaces that are no guests': what has not been heard of may have been made again, as a guest's.
bool Agent::may_vouch() const { return settings_.cni_refuse_unknown && api_ && api_->follows_namespaces(); }

// Before anything else.
bool Agent::hand_over(std::vector<Problem>& problems) {
  if (!api_) return true;
  vouches_ = desired_ && may_vouch();
  auto untold = hand_over_namespaces(settings_, *api_, desired_ ? &*desired_ : nullptr, vouches_);
  if (!untold) return true;
  problems.push_back(std::move(*untold));
  return false;
}

// Each problem once, when it comes up, and once more when it is over.
void Agent::tell_problems(const std::vector<Problem>& problems) {
  std::set<std::string> now;
  for (const Problem& problem : problems)
    if (now.insert(problem.text()).second && !told_.contains(problem.text())) log_problem(problem);
  for (const std::string& before : told_)
    if (!now.contains(before)) log_info("no longer: " + before);
  told_ = std::move(now);
}

void Agent::converge() {
  std::vector<Problem> problems = unheld_limits(settings_.limits, datapath_->limits());
  PassTimes times;
  times.begin = boot_now();
  check_drift();
  if (std::exchange(chain_due_, false) && chain_) keep_chain(*chain_, status_);
  const bool news = source_changed_ || interfaces_changed_ || records_changed_ || clock_changed_;
  read_changes();
  const bool told = hand_over(problems);
  // To a node of which nothing is known every guest's interface would be gone.
  if (!desired_ || !node_read_) {
    if (api_ && !desired_) close_ended_grants(*api_, *applier_);
    gate_guests(problems);
    for (Problem& trouble : source_->troubles()) problems.push_back(std::move(trouble));
    tell_problems(problems);
    publish_metrics();
    set_alarm(std::min(drift_due_, boot_now() + kAskedAgain));
    return;
  }
  times.read = boot_now();
  const TimeFacts time = time_->facts(desired_->grants, problems);
  node_.in_force = in_force(applier_->state());
  const CompiledPolicy compiled = compile(*desired_, node_, time, datapath_->limits());
  times.compiled = boot_now();
  Plan plan;
  const ApplyReport report = carry_out(compiled, time, times, plan);
  gone_.clear();
  status_.open_guests = static_cast<std::uint64_t>(std::ranges::count_if(
      compiled.endpoints, [this](const CompiledEndpoint& each) { return kernel_->is_open(each.ifindex); }));
  if (status_.open_guests > 0) retry_.forget();  // soon, however long it has failed
  const bool gated = gate_guests(problems);
  const auto settled = datapath_->settle();
  if (!settled) problems.push_back(problem_at(Severity::Error, settings_.pin_root, settled.error().message));
  keep_segments(compiled);
  problems.insert(problems.end(), compiled.problems.begin(), compiled.problems.end());
  problems.insert(problems.end(), plan.problems.begin(), plan.problems.end());
  problems.insert(problems.end(), mark_problems_.begin(), mark_problems_.end());
  for (Problem& problem : guests_ ? guests_->problems() : std::vector<Problem>())
    problems.push_back(std::move(problem));
  if (chain_) problems.insert(problems.end(), chain_->problems().begin(), chain_->problems().end());
  for (Problem& trouble : source_->troubles()) problems.push_back(std::move(trouble));
  Refusals refusals = refusals_of(*desired_, compiled);
  status_.refused = refused_grants(refusals);
  // While guests wait for their turn nothing waits for a disk, but not for ever: they may come without end.
  const bool writes = report.postponed.empty() || ++passes_unwritten_ > kUnwrittenAtMost;
  if (auto not_kept = keep_source(compiled, report, writes)) problems.push_back(std::move(*not_kept));
  if (writes) {
    passes_unwritten_ = 0;
    time_->keep(problems);
    if (auto untold = tell_grantctl(settings_, compiled, std::move(refusals))) problems.push_back(std::move(*untold));
    tell_problems(problems);
  }
  carried_out_once_ = true;
  applied_once_ = applied_once_ || report.complete();
  if (report_ && (news || report.done > 0)) report_->changed();
  status_.mechanism = attacher_->mechanism();
  report_to_cluster(compiled, plan, time, report.postponed);
  publish_status();
  const BootNanoseconds due =
      next_due(compiled, time, plan, report.complete() && told && gated && settled.ok() && !interfaces_changed_);
  set_alarm(report.postponed.empty() ? due : boot_now());
  if (std::exchange(marks_due_, false)) marks_->look();  // after everything that enforces
}

// After everything that enforces. What the kernel lacks now is judged anew: some of it may have been mended.
void Agent::report_to_cluster(const CompiledPolicy& compiled, const Plan& plan, const TimeFacts& time,
                              const std::set<std::string>& waiting) {
  if (!report_ || !report_->is_due(boot_now(), !waiting.empty())) return;
  // Where there was nothing to do, nothing is missing.
  const Plan missing = plan.steps.empty() ? Plan{} : grantd::plan(applier_->state(), compiled, plan_facts(time));
  report_->look(*desired_, compiled, applier_->state(), missing, waiting, status_);
}

void Agent::publish_status() {
  status_.ready = applied_once_;
  status_.apply_errors = applier_->errors_by_operation();
  publish_metrics();
}

void Agent::publish_metrics() {
  if (report_) report_->tell(status_);
  metrics_.publish(status_);
}

BootNanoseconds Agent::next_due(const CompiledPolicy& compiled, const TimeFacts& time, const Plan& plan,
                                bool complete) {
  if (complete)
    retry_.forget();
  else
    retry_.fail(time.boot_now);
  BootNanoseconds due = std::min(drift_due_, plan.next_due);
  if (cgroup_awaited_) due = std::min(due, time.boot_now + kCgroupAwaited);
  due = retry_.next(time.boot_now, due);
  // The datapath ends a Grant by itself; this is for names, latches and messages, and for whom each one governs.
  return std::min(due, compiled.next_edge);
}

void Agent::set_alarm(BootNanoseconds due) {
  alarm_ = due;
  loop_.set_alarm(due);
}

}  // namespace grantd
