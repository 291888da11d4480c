#include "agent/run/cluster_report.h"

#include "agent/node/clock.h"
#include "agent/run/log.h"
#include "agent/snapshot/read_snapshot.h"
#include "agent/status/assess.h"
#include "crd-sync/canonical.h"
#include "crd-sync/status/status_text.h"
#include "maps/fixed_text.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace grantd {
namespace {

ApiTime steady_now() { return std::chrono::steady_clock::now(); }
WallTime wall_now() { return std::chrono::system_clock::now(); }

// Once each: one try. Who asks knows what holds by then.
SendRequest sender_of(KubernetesSource& source) {
  return
      [&source](const ApiRequest& request, ApiClient::Done done) { source.client().send(request, std::move(done), 1); };
}

std::int64_t wall_ns_of(const std::optional<ApiTime>& time) {
  if (!time) return 0;
  const auto wall = std::chrono::system_clock::now() - (steady_now() - *time);
  return std::chrono::duration_cast<std::chrono::nanoseconds>(wall.time_since_epoch()).count();
}

SourceStatus source_status(const std::string& kind, const ReflectorCounters& counters) {
  SourceStatus status;
  status.source = kind;
  for (const std::uint64_t each : counters.errors) status.errors += each;
  FollowedStatus& followed = status.followed.emplace();
  followed.relists = counters.relists();
  followed.last_contact_ns = wall_ns_of(counters.last_contact);
  followed.following = counters.current(steady_now());
  followed.current_ns = wall_ns_of(followed.following ? steady_now() : counters.followed_at);
  return status;
}

// Once when it begins, and once when it is over.
void log_once(const char* what, const std::string& error, bool& told) {
  if (!error.empty() && !told) log_warning(std::string(what) + "; enforcement goes on", {{"error", error}});
  if (error.empty() && told) log_info(std::string("no longer: ") + what);
  told = !error.empty();
}

std::set<std::string> grants_named(const Snapshot& snapshot) {
  std::set<std::string> grants;
  for (const auto& [slot, name] : snapshot.slot_names) grants.insert(text_of(name.grant));
  return grants;
}

}  // namespace

ClusterReport::ClusterReport(const std::string& node, KubernetesSource& source, const DatapathMaps& maps)
    : node_(node),
      source_(source),
      maps_(maps),
      writer_(node, sender_of(source), steady_now, hash_text(node + "/status")),
      sender_(node, sender_of(source), steady_now, wall_now, hash_text(node + "/events")) {}

void ClusterReport::look(const DesiredState& desired, const CompiledPolicy& compiled, const KernelState& kernel,
                         const Plan& missing, const std::set<std::string>& waiting, const AgentStatus& agent) {
  looked_at_ = boot_now();
  look_at_ = looked_at_ + kLatest;
  const auto snapshot = read_snapshot(maps_, {.counters = true});
  log_once("cannot read back what is in force, so nobody is told", snapshot ? "" : snapshot.error().message,
           read_failed_);
  if (!snapshot) return;
  if (!violations_) violations_.emplace(grants_named(snapshot.value()));
  if (writer_.ready() && !before_) before_ = writer_.found() ? parse_status(*writer_.found()) : NodeStatus{};
  const StatusFacts facts{desired,          compiled,        snapshot.value(),
                          kernel.rule_sets, missing,         node_,
                          GRANTD_VERSION,   agent.mechanism, agent.gate_missing.value_or(""),
                          waiting};
  NodeStatus status = assess(facts, before_.value_or(NodeStatus{}));
  tell_people(facts, status);
  tell_violations(facts);
  if (!before_) return;
  keep_transitions(status, *before_, wall_now());
  writer_.want(status_text(status), has_broken(status, *before_));
  before_ = std::move(status);
}

void ClusterReport::tell_people(const StatusFacts& facts, const NodeStatus& status) {
  for (const Occasion& each : occasions(facts, status)) sender_.offer(each);
}

void ClusterReport::tell_violations(const StatusFacts& facts) {
  violations_->keep(grants_named(facts.snapshot));
  for (const auto& [slot, name] : facts.snapshot.slot_names) {
    const auto counters = facts.snapshot.counters.find(slot);
    const auto head = facts.desired.grant_heads.find(text_of(name.grant));
    if (counters == facts.snapshot.counters.end() || head == facts.desired.grant_heads.end()) continue;
    for (const Violation& each : violations_->look(head->first, counters->second))
      sender_.offer(violation_occasion(each, head->second.uid, node_), [this, each] { violations_->told(each); });
  }
}

void ClusterReport::drive() {
  writer_.drive();
  if (writer_.ready() && !before_) look_at_ = looked_at_;  // what was found there was waited for
  log_once("this node's GrantNodeStatus cannot be written", writer_.counters().last_error, status_failed_);
  log_once("Events cannot be written", sender_.counters().last_error, events_failed_);
}

BootNanoseconds ClusterReport::next_due() const {
  const ApiTime due = writer_.due();
  if (due == ApiTime::max()) return look_at_;
  const auto wait = std::max(due - steady_now(), ApiTime::duration{0});
  const auto wait_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(wait).count();
  return std::min(look_at_, boot_now() + static_cast<BootNanoseconds>(wait_ns));
}

void ClusterReport::tell(AgentStatus& status) const {
  status.sources.resize(1);  // the first one is the whole
  for (const auto& [kind, counters] : source_.counters()) status.sources.push_back(source_status(kind, counters));
  const StatusWriterCounters& writes = writer_.counters();
  const EventCounters& events = sender_.counters();
  status.written = {writes.done, writes.failed, events.done, events.failed, events.held_back};
}

}  // namespace grantd
