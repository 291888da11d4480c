#include "agent/snapshot/read_snapshot.h"

#include "agent/shape/receive_backlog.h"
#include "agent/snapshot/waiting_bytes.h"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <set>

namespace grantd {
namespace {

// For packets between a queue and the program behind it; a CPU that is never idle has some for longer.
constexpr std::chrono::milliseconds kPatience{20};

std::int64_t nanoseconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<std::int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

template <typename Map, typename Key, typename Value>
Result<void> read_all(const Map& map, std::map<Key, Value>& into) {
  auto entries = map.entries();
  if (!entries) return entries.error();
  for (const auto& [key, value] : entries.value()) into[key] = value;
  return {};
}

std::set<std::uint32_t> slots_in_use(const Snapshot& snapshot) {
  std::set<std::uint32_t> slots = {0};
  for (const auto& [slot, name] : snapshot.slot_names) slots.insert(slot);
  for (const auto& [slot, policy_id] : snapshot.published) slots.insert(slot);
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) slots.insert(endpoint.slot);
  for (const auto& [cgroup, endpoint] : snapshot.host_guests) slots.insert(endpoint.slot);
  return slots;
}

Result<void> read_published(const DatapathMaps& maps, Snapshot& snapshot) {
  for (std::uint32_t slot = 0; slot < maps.grant.raw().max_entries(); slot++) {
    auto grant = maps.grant.find(slot);
    if (!grant) return grant.error();
    if (grant.value() && grant.value()->policy_id) snapshot.published[slot] = grant.value()->policy_id;
  }
  return {};
}

Result<void> read_configuration(const DatapathMaps& maps, Snapshot& snapshot) {
  Result<void> steps[] = {read_published(maps, snapshot),
                          read_all(maps.policy, snapshot.policies),
                          read_all(maps.slotname, snapshot.slot_names),
                          read_all(maps.idname, snapshot.identity_names),
                          read_all(maps.guest, snapshot.guests),
                          read_all(maps.endpoint, snapshot.endpoints),
                          read_all(maps.hostguest, snapshot.host_guests),
                          read_all(maps.uplink, snapshot.uplinks)};
  for (const auto& step : steps)
    if (!step) return step.error();
  auto node = maps.node.find(0);
  if (!node) return node.error();
  if (node.value()) snapshot.node = *node.value();
  auto shaper = maps.shaper.find(0);
  if (!shaper) return shaper.error();
  if (shaper.value()) snapshot.shaper = *shaper.value();
  for (std::uint32_t kind = 0; kind < GRANTD_BOUNDS; kind++) {
    auto bound = maps.bound.find(kind);
    if (!bound) return bound.error();
    if (bound.value()) snapshot.bounds[kind] = *bound.value();
  }
  return {};
}

Result<void> read_counters(const DatapathMaps& maps, const std::set<std::uint32_t>& slots, Snapshot& snapshot) {
  for (const std::uint32_t slot : slots) {
    auto counters = maps.counters(slot);
    if (!counters) return counters.error();
    if (!counters.value().empty()) snapshot.counters[slot] = std::move(counters).value();
  }
  return {};
}

Result<void> read_buckets(const DatapathMaps& maps, Snapshot& snapshot) {
  for (const auto& [slot, policy_id] : snapshot.published) {
    const grantd_policy* policy = policy_in_force(snapshot, slot);
    if (!policy) continue;
    auto& pair = snapshot.buckets[slot];
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      const std::uint32_t index = GRANTD_BUCKET_INDEX(slot, direction);
      auto bucket = maps.bucket.find(index);
      if (!bucket) return bucket.error();
      auto credit = maps.credit_bytes(index, policy->grant_epoch);
      if (!credit) return credit.error();
      if (bucket.value()) pair[direction] = {*bucket.value(), credit.value()};
    }
  }
  return {};
}

Result<void> read_delays(const DatapathMaps& maps, Snapshot& snapshot) {
  for (const auto& [slot, policy_id] : snapshot.published) {
    const grantd_policy* policy = policy_in_force(snapshot, slot);
    if (!policy) continue;
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      if (policy->limit[direction].rate_bps == 0) continue;
      auto delay = maps.delay.find(GRANTD_BUCKET_INDEX(slot, direction));
      if (!delay) return delay.error();
      if (delay.value() && delay.value()->grant_epoch == policy->grant_epoch)
        snapshot.delays[slot][direction] = *delay.value();
    }
  }
  return {};
}

// What went in first, then what waits, then what came out: what moves on meanwhile is taken to wait or to have come
// back, not to be lost.
Result<void> read_usage(const DatapathMaps& maps, Snapshot& snapshot) {
  auto entries = maps.usage.entries();
  if (!entries) return entries.error();
  for (const auto& [key, usage] : entries.value())
    if (key.direction < GRANTD_DIRECTIONS) snapshot.usage[key.endpoint_id][key.direction].usage = usage;
  if (snapshot.shaper.queue_ifindex == 0) {  // what has no queue loses nothing in one
    for (auto& [endpoint_id, pair] : snapshot.usage)
      for (UsageState& state : pair) state.lost_bytes = 0;
    return {};
  }
  const bool all_in = nothing_left_to_receive(kPatience);
  auto backlogs = read_backlogs(snapshot.shaper.queue_ifindex);
  if (!backlogs) return backlogs.error();
  auto queues = maps.queue.entries();
  if (!queues) return queues.error();
  for (const auto& [endpoint_id, queue] : queues.value())
    note_waiting_bytes(queue, backlogs.value(), snapshot.usage[endpoint_id]);
  if (!all_in || !backlogs.value().whole || !nothing_left_to_receive(kPatience)) return {};
  auto later = maps.usage.entries();
  if (!later) return later.error();
  for (const auto& [key, usage] : later.value()) {
    const auto found = snapshot.usage.find(key.endpoint_id);
    if (key.direction >= GRANTD_DIRECTIONS || found == snapshot.usage.end()) continue;
    UsageState& state = found->second[key.direction];
    if (!state.waiting_bytes) continue;
    const std::uint64_t accounted = usage.returned_bytes + *state.waiting_bytes;
    state.lost_bytes = state.usage.queued_bytes > accounted ? state.usage.queued_bytes - accounted : 0;
  }
  return {};
}

Result<void> read_flows(const DatapathMaps& maps, const std::set<std::uint32_t>& slots, Snapshot& snapshot) {
  for (const std::uint32_t slot : slots) {
    auto table = maps.flow_table(slot);
    if (!table) return table.error();
    if (!table.value()) continue;
    auto entries = table.value()->entries();
    if (!entries) return entries.error();
    for (const auto& [key, flow] : entries.value()) snapshot.flows.push_back({slot, key, flow});
  }
  return {};
}

// Not by keys(): in a table in which the kernel makes room by itself one that goes meanwhile would begin the walk anew.
template <typename Map>
Result<void> fill_of(const Map& map, MapFill& fill) {
  std::size_t entries = 0;
  if (auto done = map.for_each([&](const auto&, const auto&) { entries++; }); !done) return done;
  fill.entries += std::min<std::size_t>(entries, map.raw().max_entries());
  fill.max_entries += map.raw().max_entries();
  return {};
}

// What the snapshot holds already is not read again.
Result<void> read_fills(const DatapathMaps& maps, const std::set<std::uint32_t>& slots, Snapshot& snapshot) {
  auto& fills = snapshot.fills;
  const auto known = [&fills](const RawMap& map, std::size_t entries) {
    fills[map.name()] = {entries, map.max_entries()};
  };
  known(maps.grant.raw(), snapshot.published.size());
  known(maps.policy.raw(), snapshot.policies.size());
  known(maps.endpoint.raw(), snapshot.endpoints.size());
  known(maps.hostguest.raw(), snapshot.host_guests.size());
  known(maps.uplink.raw(), snapshot.uplinks.size());
  known(maps.slotname.raw(), snapshot.slot_names.size());
  known(maps.idname.raw(), snapshot.identity_names.size());
  known(maps.guest.raw(), snapshot.guests.size());
  auto devices = maps.device.keys();  // the kernel gives these in no other way
  if (!devices) return devices.error();
  known(maps.device.raw(), devices.value().size());
  Result<void> steps[] = {
      fill_of(maps.identity, fills[maps.identity.raw().name()]), fill_of(maps.rule, fills[maps.rule.raw().name()]),
      fill_of(maps.idrule, fills[maps.idrule.raw().name()]), fill_of(maps.source, fills[maps.source.raw().name()]),
      fill_of(maps.queue, fills[maps.queue.raw().name()])};
  for (const auto& step : steps)
    if (!step) return step.error();
  for (const std::uint32_t slot : slots) {
    auto flows = maps.flow_table(slot);
    if (!flows) return flows.error();
    if (flows.value())
      if (auto done = fill_of(*flows.value(), fills[maps.flow.raw().name()]); !done) return done;
    auto fragments = maps.fragment_table(slot);
    if (!fragments) return fragments.error();
    if (fragments.value())
      if (auto done = fill_of(*fragments.value(), fills[maps.frag.raw().name()]); !done) return done;
  }
  return {};
}

}  // namespace

Clock read_clock() { return {static_cast<std::uint64_t>(nanoseconds(CLOCK_BOOTTIME)), nanoseconds(CLOCK_REALTIME)}; }

Result<Snapshot> read_snapshot(const DatapathMaps& maps, const SnapshotParts& parts) {
  Snapshot snapshot;
  if (auto done = read_configuration(maps, snapshot); !done) return done.error();
  const auto slots = slots_in_use(snapshot);
  if (parts.counters)
    if (auto done = read_counters(maps, slots, snapshot); !done) return done.error();
  if (parts.flows)
    if (auto done = read_flows(maps, slots, snapshot); !done) return done.error();
  if (parts.fills)
    if (auto done = read_fills(maps, slots, snapshot); !done) return done.error();
  if (parts.buckets)
    for (auto part : {read_buckets, read_delays, read_usage})
      if (auto done = part(maps, snapshot); !done) return done.error();
  snapshot.clock = read_clock();  // last: nothing in the snapshot lies in its future
  return snapshot;
}

}  // namespace grantd
