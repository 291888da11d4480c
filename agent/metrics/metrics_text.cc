#include "agent/metrics/metrics_text.h"

#include "agent/plan/operations.h"
#include "maps/fixed_text.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <tuple>

namespace grantd {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  // Returns the number of the family, for add().
  std::size_t open(const char* name, MetricType type, const char* help) {
    families_.push_back({name, help, type, {}});
    return families_.size() - 1;
  }
  template <typename Number>
  void add(std::size_t family, Labels labels, Number value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = metric.gauge.value = static_cast<double>(value);
    families_[family].metric.push_back(std::move(metric));
  }
  void add_histogram(std::size_t family, const DurationHistogram& durations) {
    ClientMetric metric;
    metric.histogram.sample_count = durations.count();
    metric.histogram.sample_sum = durations.sum_seconds();
    for (std::size_t index = 0; index < DurationHistogram::kBounds.size(); index++)
      metric.histogram.bucket.push_back({durations.cumulative()[index], DurationHistogram::kBounds[index]});
    metric.histogram.bucket.push_back({durations.count(), std::numeric_limits<double>::infinity()});
    families_[family].metric.push_back(std::move(metric));
  }
  void add_delay(std::size_t family, Labels labels, const grantd_delay& delay) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.histogram.sample_sum = static_cast<double>(delay.total_us) / 1e6;
    for (std::uint32_t bin = 0; bin < GRANTD_DELAY_BINS; bin++) {
      metric.histogram.sample_count += delay.packets[bin];
      const double bound = bin + 1 < GRANTD_DELAY_BINS ? static_cast<double>(GRANTD_DELAY_FIRST_US << bin) / 1e6
                                                       : std::numeric_limits<double>::infinity();
      metric.histogram.bucket.push_back({metric.histogram.sample_count, bound});
    }
    families_[family].metric.push_back(std::move(metric));
  }
  void one(const char* name, MetricType type, const char* help, Labels labels, std::uint64_t value) {
    add(open(name, type, help), std::move(labels), value);
  }
  // Families without a series are left out.
  std::string text() const {
    std::vector<MetricFamily> filled;
    for (const MetricFamily& family : families_)
      if (!family.metric.empty()) filled.push_back(family);
    return prometheus::TextSerializer().Serialize(filled);
  }

 private:
  std::vector<MetricFamily> families_;
};

constexpr MetricType kCounter = MetricType::Counter, kGauge = MetricType::Gauge;

Labels grant_labels(const Snapshot& snapshot, std::uint32_t slot) {
  const auto name = snapshot.slot_names.find(slot);
  const bool known = name != snapshot.slot_names.end();
  return {{"grant", grant_name(snapshot, slot)},
          {"grantor", known ? text_of(name->second.grantor) : ""},
          {"grantee", known ? text_of(name->second.grantee) : ""}};
}

Labels with(Labels labels, const char* name, std::string value) {
  labels.push_back({name, std::move(value)});
  return labels;
}

void add_traffic(const Snapshot& snapshot, Families& families) {
  const auto violations =
      families.open("grantd_violations_total", kCounter, "Packets refused, by Grant, direction and reason.");
  const auto violation_bytes = families.open("grantd_violation_bytes_total", kCounter,
                                             "Bytes of packets refused, by Grant, direction and reason.");
  const auto packets = families.open("grantd_packets_total", kCounter, "Packets allowed, by Grant and direction.");
  const auto bytes = families.open("grantd_bytes_total", kCounter, "Bytes allowed, by Grant and direction.");
  for (const auto& [slot, counters] : snapshot.counters) {
    const Labels grant = grant_labels(snapshot, slot);
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      const Labels labels = with(grant, "direction", direction_name(direction));
      grantd_counter allowed{};
      for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
        const grantd_counter& counter = counters[GRANTD_COUNTER_INDEX(direction, reason)];
        if (reason_passes(reason)) {
          allowed.packets += counter.packets;
          allowed.bytes += counter.bytes;
        } else if (counter.packets > 0) {
          families.add(violations, with(labels, "reason", reason_label(reason)), counter.packets);
          families.add(violation_bytes, with(labels, "reason", reason_label(reason)), counter.bytes);
        }
      }
      if (slot == 0) continue;  // nothing passes in quarantine
      families.add(packets, labels, allowed.packets);
      families.add(bytes, labels, allowed.bytes);
    }
  }
}

void add_buckets(const Snapshot& snapshot, Families& families) {
  const auto rate = families.open("grantd_bandwidth_limit_bytes_per_second", kGauge,
                                  "Rate that the Grant's guests share; absent where it is unlimited.");
  const auto burst = families.open("grantd_bucket_burst_bytes", kGauge, "Bytes that the full token bucket holds.");
  const auto level = families.open("grantd_bucket_level_bytes", kGauge, "Bytes in the token bucket now.");
  for (const auto& [slot, pair] : snapshot.buckets) {
    const grantd_policy* policy = policy_in_force(snapshot, slot);
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      if (!policy || policy->limit[direction].rate_bps == 0) continue;
      const grantd_limit& limit = policy->limit[direction];
      const Labels labels = with(grant_labels(snapshot, slot), "direction", direction_name(direction));
      families.add(rate, labels, static_cast<double>(limit.rate_bps) / 8);
      families.add(burst, labels, limit.burst_bytes);
      families.add(level, labels,
                   bucket_level_bytes(pair[direction], limit, policy->grant_epoch, snapshot.clock.boot_ns));
    }
  }
}

struct GuestUsage {
  std::uint64_t allowed_bytes = 0, returned_bytes = 0, refused_bytes = 0;
  std::optional<std::uint64_t> lost_bytes = 0, waiting_bytes = 0;  // nothing where it is not known of all
};

// By Grant, guest and direction: a guest may have several interfaces, and left one behind, which is in quarantine.
std::map<std::tuple<std::string, std::string, std::uint32_t>, GuestUsage> usage_by_guest(const Snapshot& snapshot) {
  std::map<std::tuple<std::string, std::string, std::uint32_t>, GuestUsage> all;
  for (const auto& [endpoint_id, pair] : snapshot.usage) {
    const auto guest = snapshot.guests.find(endpoint_id);
    if (guest == snapshot.guests.end() || guest->second.slot == 0) continue;
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      const UsageState& state = pair[direction];
      GuestUsage& sum = all[{grant_name(snapshot, guest->second.slot), guest_name(snapshot, endpoint_id), direction}];
      sum.allowed_bytes += state.usage.allowed_bytes;
      sum.returned_bytes += state.usage.returned_bytes;
      sum.refused_bytes += state.usage.refused_bytes;
      sum.lost_bytes = known_sum(sum.lost_bytes, state.lost_bytes);
      sum.waiting_bytes = known_sum(sum.waiting_bytes, state.waiting_bytes);
    }
  }
  return all;
}

// Of limited Grants alone: others are not counted by guest.
void add_usage(const Snapshot& snapshot, Families& families) {
  const auto bytes = families.open("grantd_limited_bytes_total", kCounter,
                                   "Bytes of a guest under a limit: allowed; of them delayed; refused by the bucket; "
                                   "lost in a full queue.");
  const auto waiting = families.open("grantd_queue_bytes", kGauge, "Bytes of a guest that wait for their turn now.");
  for (const auto& [key, usage] : usage_by_guest(snapshot)) {
    const auto& [grant, guest, direction] = key;
    const Labels labels = {{"grant", grant}, {"guest", guest}, {"direction", direction_name(direction)}};
    families.add(bytes, with(labels, "outcome", "allowed"), usage.allowed_bytes);
    families.add(bytes, with(labels, "outcome", "delayed"), usage.returned_bytes);
    families.add(bytes, with(labels, "outcome", "refused"), usage.refused_bytes);
    if (usage.lost_bytes) families.add(bytes, with(labels, "outcome", "lost"), *usage.lost_bytes);
    if (usage.waiting_bytes) families.add(waiting, labels, *usage.waiting_bytes);
  }
}

void add_delays(const Snapshot& snapshot, Families& families) {
  const auto family = families.open("grantd_queue_delay_seconds", MetricType::Histogram,
                                    "How long packets waited for their turn under a limit.");
  for (const auto& [slot, pair] : snapshot.delays)
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS})
      families.add_delay(family, with(grant_labels(snapshot, slot), "direction", direction_name(direction)),
                         pair[direction]);
}

// In Unix seconds; nothing where the Grant has no end. The kernel's clock may bring it before validUntil: a notice runs
// out, or the Grant was revoked at once, which is before all that is to come.
std::optional<double> end_of(const Snapshot& snapshot, std::uint32_t slot, const grantd_slotname& name) {
  std::optional<double> end;
  if (name.valid_until_seconds) end = static_cast<double>(name.valid_until_seconds);
  const grantd_policy* policy = policy_in_force(snapshot, slot);
  if (!policy || policy->not_after_ns == GRANTD_TIME_NEVER) return end;
  // To the nearest second: the two clocks are read one after the other.
  const double kernels = std::round(static_cast<double>(snapshot.clock.wall_of(policy->not_after_ns)) / 1e9);
  return end ? std::min(*end, kernels) : kernels;
}

void add_grants(const Snapshot& snapshot, const AgentStatus& status, Families& families) {
  const auto phase = families.open("grantd_grant_phase", kGauge, "1 for the phase that the Grant is in, else 0.");
  const auto until = families.open("grantd_grant_valid_until_timestamp_seconds", kGauge,
                                   "When the Grant ends; absent where it has no end.");
  for (const auto& [slot, name] : snapshot.slot_names) {
    const std::string grant = text_of(name.grant);
    const grantd_phase now = phase_now(snapshot, slot, name);
    for (const grantd_phase each :
         {GRANTD_PHASE_PENDING, GRANTD_PHASE_ACTIVE, GRANTD_PHASE_REVOKED, GRANTD_PHASE_EXPIRED})
      families.add(phase, {{"grant", grant}, {"phase", phase_name(each)}}, each == now);
    if (const auto end = end_of(snapshot, slot, name)) families.add(until, {{"grant", grant}}, *end);
  }
  const auto refused = families.open("grantd_grant_refused", kGauge,
                                     "1 for a Grant whose manifest the agent refused; what was in force stays.");
  for (const std::string& grant : status.refused) families.add(refused, {{"grant", grant}}, 1);
}

void add_endpoints(const Snapshot& snapshot, Families& families) {
  std::uint64_t not_enforced = 0;
  for (const auto& [cgroup, endpoint] : snapshot.host_guests)
    not_enforced += (endpoint.flags & GRANTD_ENDPOINT_HOST_NETWORK) != 0;
  families.one("grantd_endpoints", kGauge, "Guests' interfaces on this node.", {}, snapshot.endpoints.size());
  families.one("grantd_quarantined_endpoints", kGauge, "Guests' interfaces that no valid Grant governs.", {},
               quarantined_endpoints(snapshot));
  families.one("grantd_not_enforced_endpoints", kGauge, "Guests on the host network, which no interface holds.", {},
               not_enforced);
}

void add_maps(const Snapshot& snapshot, Families& families) {
  const auto entries = families.open("grantd_map_entries", kGauge, "Entries of a map; tables of Grants added up.");
  const auto most = families.open("grantd_map_max_entries", kGauge, "Entries that the map has room for.");
  for (const auto& [name, fill] : snapshot.fills) {
    families.add(entries, {{"map", name}}, fill.entries);
    families.add(most, {{"map", name}}, fill.max_entries);
  }
}

void add_limits(const Snapshot& snapshot, Families& families) {
  const auto limit = families.open("grantd_node_limit", kGauge, "How much this node takes on.");
  const auto used = families.open("grantd_node_limit_used", kGauge,
                                  "How much of it is in use; above the limit where that was lowered.");
  const auto refused = families.open("grantd_node_limit_refused", kGauge,
                                     "What the limit keeps out now: Grants, guests, Realms or prefixes.");
  for (std::uint32_t kind = 0; kind < GRANTD_BOUNDS; kind++) {
    const grantd_bound& bound = snapshot.bounds[kind];
    if (bound.most == 0) continue;  // no agent has compiled yet
    families.add(limit, {{"limit", bound_name(kind)}}, bound.most);
    families.add(used, {{"limit", bound_name(kind)}}, bound.used);
    families.add(refused, {{"limit", bound_name(kind)}}, bound.refused);
  }
}

// What the API server tells of each kind.
void add_followed(const Snapshot& snapshot, const AgentStatus& status, Families& families) {
  const auto contact = families.open("grantd_source_last_contact_timestamp_seconds", kGauge,
                                     "When anything came from the API server of this kind.");
  const auto relists = families.open("grantd_source_relists_total", kCounter,
                                     "Times that the whole set of this kind was asked for again.");
  const auto lag = families.open("grantd_source_lag_seconds", kGauge,
                                 "How old what is known of this kind may be; 0 while the API server is followed.");
  for (const SourceStatus& source : status.sources) {
    if (!source.followed) continue;
    const FollowedStatus& followed = *source.followed;
    const Labels labels = {{"source", source.source}};
    families.add(relists, labels, followed.relists);
    if (followed.last_contact_ns) families.add(contact, labels, static_cast<double>(followed.last_contact_ns) / 1e9);
    if (!followed.current_ns) continue;  // never known whole
    const std::int64_t age_ns = followed.following ? 0 : snapshot.clock.wall_ns - followed.current_ns;
    families.add(lag, labels, static_cast<double>(std::max<std::int64_t>(age_ns, 0)) / 1e9);
  }
}

void add_written(const AgentStatus& status, Families& families) {
  if (!status.written) return;
  const WrittenStatus& written = *status.written;
  const auto writes = families.open("grantd_status_writes_total", kCounter, "Writes of this node's GrantNodeStatus.");
  families.add(writes, {{"result", "done"}}, written.status_done);
  families.add(writes, {{"result", "failed"}}, written.status_failed);
  const auto events = families.open("grantd_events_total", kCounter, "Events for the API server.");
  families.add(events, {{"result", "done"}}, written.events_done);
  families.add(events, {{"result", "failed"}}, written.events_failed);
  families.add(events, {{"result", "held_back"}}, written.events_held_back);
}

void add_agent(const Snapshot& snapshot, const AgentStatus& status, Families& families) {
  families.add_histogram(families.open("grantd_apply_duration_seconds", MetricType::Histogram,
                                       "Time that it took to bring a change into force."),
                         status.apply_durations);
  const auto errors = families.open("grantd_apply_errors_total", kCounter,
                                    "Steps of apply that failed and stayed due, attaching included.");
  // From 0 on: a first error is an increase too.
  for (const char* operation : operation_names()) {
    const auto counted = status.apply_errors.find(operation);
    families.add(errors, {{"operation", operation}}, counted == status.apply_errors.end() ? 0 : counted->second);
  }
  const auto source_errors =
      families.open("grantd_source_errors_total", kCounter, "Loads of a source that had errors in them.");
  const auto success = families.open("grantd_source_last_success_timestamp_seconds", kGauge,
                                     "When the source was last loaded without an error.");
  for (const SourceStatus& source : status.sources) {
    families.add(source_errors, {{"source", source.source}}, source.errors);
    if (source.last_success_seconds) families.add(success, {{"source", source.source}}, source.last_success_seconds);
  }
  add_followed(snapshot, status, families);
  add_written(status, families);
  families.one("grantd_drift_repaired_total", kCounter, "Places where the kernel was not as it was left.", {},
               status.drift_repaired);
  if (status.gate_missing)
    families.one("grantd_gate_in_place", kGauge, "Whether nftables stand behind the programs.", {},
                 status.gate_missing->empty() ? 1 : 0);
  families.one("grantd_unjudged_packets_total", kCounter,
               "Packets of guests that came past the programs and were dropped by nftables.", {},
               status.unjudged_packets);
  families.one("grantd_forged_packets_total", kCounter,
               "Packets for the node in a guest's name that were not from it and were dropped by nftables.", {},
               status.forged_packets);
  families.one("grantd_open_guests", kGauge, "Guests' interfaces that can neither be attached nor set down.", {},
               status.open_guests);
  if (status.stamp_collisions)
    families.one("grantd_stamp_collisions", kGauge, "Ways in which marks of others collide with the stamp.", {},
                 *status.stamp_collisions);
  if (status.chain) {
    families.one("grantd_cni_chain_in_place", kGauge, "1 while grantd-cni stands in the chain that the runtime takes.",
                 {}, status.chain->in_place);
    families.one("grantd_cni_chain_restored_total", kCounter,
                 "Times that grantd-cni or its configuration was missing or changed, and was put back.", {},
                 status.chain->restored);
  }
  families.one("grantd_shaper_info", kGauge, "Always 1; how limits are held, and why, is in the labels.",
               {{"mode", shaper_mode_name(snapshot.shaper.mode)}, {"why", text_of(snapshot.shaper.why)}}, 1);
  families.one("grantd_ready", kGauge, "1 once the first full apply is done.", {}, status.ready);
  families.one("grantd_build_info", kGauge, "Always 1; what runs is in the labels.",
               {{"version", GRANTD_VERSION}, {"attach", status.mechanism}}, 1);
}

}  // namespace

std::string metrics_text(const Snapshot& snapshot, const AgentStatus& status) {
  Families families;
  add_traffic(snapshot, families);
  add_buckets(snapshot, families);
  add_usage(snapshot, families);
  add_delays(snapshot, families);
  add_grants(snapshot, status, families);
  add_endpoints(snapshot, families);
  add_limits(snapshot, families);
  add_maps(snapshot, families);
  add_agent(snapshot, status, families);
  return families.text();
}

}  // namespace grantd
