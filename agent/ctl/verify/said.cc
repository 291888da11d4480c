#include "agent/ctl/verify/said.h"

#include "agent/apply/read_records.h"
#include "agent/compile/compile.h"
#include "agent/ctl/verify/pods_said.h"
#include "agent/guests/guest_cgroups.h"
#include "agent/guests/guest_finder.h"
#include "agent/handover/guest_namespaces.h"
#include "agent/node/clock.h"
#include "agent/node/interfaces.h"
#include "agent/node/latches.h"
#include "agent/node/local_routes.h"
#include "agent/plan/encode.h"
#include "agent/plan/in_force.h"
#include "agent/shape/htb.h"
#include "crd-sync/file_text.h"
#include "crd-sync/manifest_directory.h"

#include <poll.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace grantd {

namespace {

constexpr std::size_t kMostPodsBytes = 1U << 30;
constexpr BootNanoseconds kRuntimeAnswersWithin = 5 * GRANTD_NS_PER_SECOND;
constexpr int kPollMilliseconds = 100;

Limits limits_of(const Bounds& bounds) {
  Limits limits;
  limits.grants = bounds[GRANTD_BOUND_GRANTS].most;
  limits.endpoints = bounds[GRANTD_BOUND_ENDPOINTS].most;
  limits.rules = bounds[GRANTD_BOUND_RULES].most;
  limits.prefixes = bounds[GRANTD_BOUND_REALM_PREFIXES].most;
  limits.identities = bounds[GRANTD_BOUND_IDENTITIES].most;
  limits.flows_per_grant = 0;  // room for flows is not looked at: a Grant that the agent has none for is not in force
  return limits;
}

Result<NodeFacts> node_facts(const DesiredState& desired, const RunSettings& settings, const KernelState& state) {
  NodeFacts node;
  auto interfaces = read_interfaces();
  if (!interfaces) return interfaces.error();
  node.interfaces = std::move(interfaces).value();
  std::erase_if(node.interfaces, [&](const InterfaceFact& each) {
    return each.ifindex == state.shaper_record.queue_ifindex || each.ifindex == state.shaper_record.release_ifindex;
  });
  keep_macs(state, node.interfaces);
  auto routes = read_local_routes();
  if (!routes) return routes.error();
  node.local_routes = std::move(routes).value();
  node.pod_cidrs = settings.pod_cidrs;
  node.service_cidrs = settings.service_cidrs;
  for (const auto& [glob, uplink_class] : settings.uplinks)
    node.uplink_rules.push_back({glob, static_cast<UplinkClass>(uplink_class)});
  find_cgroups(desired.workloads, node);  // who has none is told by compile
  node.in_force = in_force(state);
  return node;
}

// Pods with an address that are not found yet.
bool is_any_unfound(const std::vector<Workload>& guests, const NodeFacts& node) {
  return std::ranges::any_of(guests, [&](const Workload& each) {
    return each.pod && !each.pod->host_network && !each.addresses.empty() &&
           !node.pod_interfaces.contains(each.pod->uid);
  });
}

// Where no record tells of a guest the runtime is asked, and answers in a while.
void find_guests(GuestFinder& finder, const std::vector<Workload>& guests, NodeFacts& node) {
  const BootNanoseconds until = boot_now() + kRuntimeAnswersWithin;
  finder.find(guests, node);
  while (is_any_unfound(guests, node) && boot_now() < until) {
    std::vector<pollfd> awaited;
    for (int fd : finder.fds()) awaited.push_back({fd, POLLIN, 0});
    if (poll(awaited.data(), awaited.size(), kPollMilliseconds) > 0) finder.drain();
    finder.find(guests, node);
  }
}

// Who was a guest stays one, whatever becomes of the namespace.
Result<std::set<std::string>> guests_before(const std::string& state_dir, GuestFinder& finder) {
  std::set<std::string> guests = finder.closed_pods();
  const auto before = read_guest_namespaces(state_dir);
  if (!before) return before.error();
  if (before.value())
    for (const auto& [uid, name] : before.value()->former_guests) guests.insert(uid);
  return guests;
}

Result<std::vector<std::string>> add_pods(const std::string& path, const ClusterSettings& cluster,
                                          const std::string& state_dir, GuestFinder& finder, DesiredState& desired) {
  auto before = guests_before(state_dir, finder);
  if (!before) return before.error();
  auto text = read_whole_file(path, kMostPodsBytes);
  if (!text) return text.error();
  auto pods = read_pods_said(text.value(), cluster, before.value());
  if (!pods) return Error{path + ": " + pods.error().message};
  desired.workloads = std::move(pods.value().here);
  desired.elsewhere = std::move(pods.value().elsewhere);
  return std::move(pods.value().unread);
}

// By the clock as the agent reckoned with it last, so that what it wrote down comes out again.
Result<TimeFacts> time_facts(const std::string& state_dir, const RunSettings& settings, const KernelState& state) {
  auto latched = LatchFile(state_dir).load();
  if (!latched) return latched.error();
  Latches& latches = latched.value();
  TimeFacts time;
  time.boot_now = boot_now();
  time.trusted = settings.clock_trusted;
  time.now = WallTime(std::chrono::nanoseconds(time.boot_now + state.node.boot_to_wall_ns));
  time.highest_seen = latches.highest_seen;
  time.revoked_at = std::move(latches.revoked_at);
  time.notice_ends = std::move(latches.notice_ends);
  time.expired = std::move(latches.expired);
  return time;
}

}  // namespace

Result<Records> read_all_records(const std::string& pin_root, const DatapathMaps& maps) {
  Records records;
  if (auto done = read_records(maps, records.state); !done) return done.error();
  auto done = maps.rule.for_each([&](const grantd_rule_key& key, const grantd_ranges& ranges) {
    if (key.prefixlen < GRANTD_RULE_KEY_FIXED_BITS) records.of_every_grant++;
    records.rules[key.rules_id][{key.direction, key.family, decode_rule_prefix(key)}] = ranges;
  });
  if (done)
    done = maps.idrule.for_each([&](const grantd_idrule_key& key, const grantd_ranges& ranges) {
      records.identity_rules[key.rules_id][{key.identity, key.direction}] = ranges;
    });
  if (!done) return done.error();
  auto queues = HtbShaper(pin_root).read();
  if (!queues) return queues.error();
  records.state.shaper = std::move(queues).value();
  // Whether our programs stand there is asked of the kernel by itself (hangs_together.h).
  for (const auto& [ifindex, endpoint] : records.state.endpoints)
    for (Hook hook : kGuestHooks) records.state.attachments.insert({hook, ifindex, 0});
  return records;
}

Result<Said> read_said(const VerifyOptions& asked, const RunSettings& settings, const std::string& state_dir,
                       const Records& records) {
  std::vector<IpPrefix> ranges = settings.pod_cidrs;
  ranges.insert(ranges.end(), settings.service_cidrs.begin(), settings.service_cidrs.end());
  DesiredState desired = load_manifests({asked.manifests}, ranges);
  Said said;
  std::optional<GuestFinder> finder;
  if (!asked.pods.empty()) {
    if (!settings.cluster)
      return Error{
          "--pods: the agent here has not left how it finds pods; accepted: one that follows an API server, of "
          "this version"};
    auto opened =
        GuestFinder::open(settings.cluster->cni_records, settings.cluster->cni_cache, settings.cluster->cri_socket);
    if (!opened) return opened.error();
    finder.emplace(std::move(opened).value());
    auto added = add_pods(asked.pods, *settings.cluster, state_dir, *finder, desired);
    if (!added) return added.error();
    said.not_read = std::move(added).value();
    desired.cluster = true;
  }
  auto node = node_facts(desired, settings, records.state);
  if (!node) return node.error();
  if (finder) {
    find_guests(*finder, desired.workloads, node.value());
    if (const auto problems = finder->problems(); !problems.empty()) return Error{problems.front().text()};
  }
  auto time = time_facts(state_dir, settings, records.state);
  if (!time) return time.error();
  said.policy = compile(desired, node.value(), time.value(), limits_of(records.state.bounds));
  said.guests = !settings.manifests.empty() || !asked.pods.empty();
  said.cpus = configured_cpus();
  said.now = time.value().boot_now;
  for (const InterfaceFact& each : node.value().interfaces)
    if (each.master && records.state.endpoints.contains(each.ifindex)) said.bridges.insert(each.master);
  constexpr std::string_view kPrefix = "Grant ";
  for (const Problem& problem : said.policy.problems) {
    if (problem.severity != Severity::Error) continue;
    if (problem.object.starts_with(kPrefix))
      said.refused.try_emplace(problem.object.substr(kPrefix.size()), problem.text());
    if (problem.object.empty() || problem.object.starts_with("Realm ")) said.not_read.push_back(problem.text());
  }
  return said;
}

}  // namespace grantd
