#include "agent/apply/read_records.h"

#include "agent/plan/encode.h"

namespace grantd {

namespace {

Result<void> read_published(const DatapathMaps& maps, KernelState& state) {
  return maps.grant.for_each([&](__u32 slot, const grantd_grant& grant) {
    if (grant.policy_id) state.published[slot] = grant.policy_id;
  });
}

Result<void> read_rules(const DatapathMaps& maps, KernelState& state) {
  auto done = maps.rule.for_each([&](const grantd_rule_key& key, const grantd_ranges& ranges) {
    RuleSet& set = state.rule_sets[key.rules_id];
    set.rules.push_back(known_rule(key, ranges));
    set.digest += digest_rule(key, ranges);
  });
  if (!done) return done;
  done = maps.idrule.for_each([&](const grantd_idrule_key& key, const grantd_ranges& ranges) {
    RuleSet& set = state.rule_sets[key.rules_id];
    set.identity_rules.push_back(key);
    set.digest += digest_rule(key, ranges);
  });
  if (!done) return done;
  return maps.source.for_each([&](const grantd_source_key& key, const grantd_source& source) {
    RuleSet& set = state.rule_sets[key.rules_id];
    set.sources.push_back(key.source);
    set.sources_digest += digest_source(key.source, source);
  });
}

Result<void> read_policies(const DatapathMaps& maps, KernelState& state) {
  if (auto done = read_published(maps, state); !done) return done;
  if (auto done = maps.policy.for_each([&](__u64 id, const grantd_policy& policy) { state.policies[id] = policy; });
      !done)
    return done;
  return read_rules(maps, state);
}

Result<void> read_endpoints(const DatapathMaps& maps, KernelState& state) {
  if (auto done =
          maps.endpoint.for_each([&](__u32 index, const grantd_endpoint& value) { state.endpoints[index] = value; });
      !done)
    return done;
  if (auto done =
          maps.hostguest.for_each([&](__u64 id, const grantd_endpoint& value) { state.host_guests[id] = value; });
      !done)
    return done;
  if (auto done = maps.uplink.for_each([&](__u32 index, const grantd_uplink& value) { state.uplinks[index] = value; });
      !done)
    return done;
  return maps.identity.for_each([&](const grantd_identity_key& key, const grantd_identity& value) {
    state.prefixes[decode_prefix_key(key)] = value.identity;
  });
}

Result<void> read_names(const DatapathMaps& maps, KernelState& state) {
  if (auto done =
          maps.slotname.for_each([&](__u32 slot, const grantd_slotname& name) { state.slot_names[slot] = name; });
      !done)
    return done;
  if (auto done = maps.idname.for_each(
          [&](__u32 number, const grantd_idname& name) { state.identity_names[number] = decode_identity_name(name); });
      !done)
    return done;
  if (auto done = maps.guest.for_each([&](__u32 id, const grantd_guest& guest) { state.guests[id] = guest; }); !done)
    return done;
  auto node = maps.node.find(0);
  if (!node) return node.error();
  if (node.value()) state.node = *node.value();
  for (std::uint32_t kind = 0; kind < GRANTD_BOUNDS; kind++) {
    auto bound = maps.bound.find(kind);
    if (!bound) return bound.error();
    if (bound.value()) state.bounds[kind] = *bound.value();
  }
  return {};
}

Result<void> read_queue_records(const DatapathMaps& maps, KernelState& state) {
  auto shaper = maps.shaper.find(0);
  if (!shaper) return shaper.error();
  if (shaper.value()) state.shaper_record = *shaper.value();
  auto devices = maps.device.keys();
  if (!devices) return devices.error();
  for (const __u32 ifindex : devices.value()) {
    auto device = maps.device.find(ifindex);
    if (!device) return device.error();
    if (device.value() == ifindex) state.devices.insert(ifindex);  // else packets come back to another
  }
  return maps.queue.for_each([&](__u32 id, const grantd_queue& queue) { state.queues[id] = queue; });
}

}  // namespace

Result<void> read_records(const DatapathMaps& maps, KernelState& state) {
  for (auto part : {read_policies, read_endpoints, read_names, read_queue_records})
    if (auto done = part(maps, state); !done) return done;
  return {};
}

}  // namespace grantd
