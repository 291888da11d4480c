#include "agent/plan/operations.h"

#include "agent/plan/encode.h"

#include <algorithm>
#include <array>

namespace grantd {

namespace {

using namespace operation;

struct Recorder {
  BootNanoseconds now;
  KernelState& state;

  void operator()(const PutNode& o) { state.node = o.node; }
  void operator()(const Attach& o) {
    state.attachments.insert(o.attachment);
    state.behind.erase(o.attachment);
    // Another interface may have come to this index; the kernel forgot the one before by itself.
    if (is_guest_hook(o.attachment.hook)) state.devices.erase(o.attachment.ifindex);
  }
  void operator()(const Detach& o) {
    state.attachments.erase(o.attachment);
    state.behind.erase(o.attachment);
  }
  void operator()(const MakeTables& o) {
    for (std::uint32_t slot : o.slots) state.tables[slot] = slot ? o.flows : 0;
  }
  void operator()(const RemoveTables& o) {
    for (std::uint32_t slot : o.slots) state.tables.erase(slot);
  }
  void operator()(const PutRules& o) {
    RuleSet& set = state.rule_sets[o.rules_id];
    set.digest = o.digest;
    set.rules.clear();
    set.identity_rules.clear();
    set.rules.reserve(o.rules.size());
    set.identity_rules.reserve(o.identity_rules.size());
    for (const auto& [key, ranges] : o.rules) set.rules.push_back(known_rule(key, ranges));
    for (const auto& [key, ranges] : o.identity_rules) set.identity_rules.push_back(key);
  }
  void operator()(const PutSources& o) {
    RuleSet& set = state.rule_sets[o.rules_id];
    set.sources_digest = o.digest;
    set.sources.clear();
    for (std::size_t index = 0; index < o.sources.size(); index++)
      set.sources.push_back(static_cast<std::uint16_t>(index + 1));
  }
  void operator()(const RenumberRules& o) {
    RuleSet& set = state.rule_sets[o.rules_id];
    std::erase_if(set.identity_rules, [&](const grantd_idrule_key& key) { return o.numbers.contains(key.identity); });
    for (const auto& [key, ranges] : o.found) set.digest -= digest_rule(key, ranges);
    for (const auto& [key, ranges] : renumbered(o)) {
      set.digest += digest_rule(key, ranges);
      set.identity_rules.push_back(key);
    }
  }
  void operator()(const CopyRules&) {}  // the PutRules was recorded
  void operator()(const CopySources& o) {
    RuleSet& set = state.rule_sets[o.rules_id];
    const RuleSet& from = state.rule_sets[o.from];
    set.sources_digest = from.sources_digest;
    set.sources = from.sources;
  }
  void operator()(const RemoveRules& o) { state.rule_sets.erase(o.rules_id); }
  void operator()(const PutPolicy& o) {
    state.policies[o.policy_id] = o.policy;
    state.retired_at[o.policy_id] = now;  // until it is published
  }
  void operator()(const RemovePolicy& o) {
    state.policies.erase(o.policy_id);
    state.retired_at.erase(o.policy_id);
  }
  void operator()(const Publish& o) {
    const auto before = state.published.find(o.slot);
    if (before != state.published.end() && before->second != o.policy_id) state.retired_at[before->second] = now;
    state.retired_at.erase(o.policy_id);
    if (o.policy_id)
      state.published[o.slot] = o.policy_id;
    else
      state.published.erase(o.slot);
  }
  void operator()(const PutEndpoint& o) { state.endpoints[o.endpoint->ifindex] = o.endpoint; }
  void operator()(const RemoveEndpoint& o) { state.endpoints.erase(o.ifindex); }
  void operator()(const PutHostGuest& o) { state.host_guests[o.cgroup_id] = o.endpoint; }
  void operator()(const RemoveHostGuest& o) { state.host_guests.erase(o.cgroup_id); }
  void operator()(const PutPrefixes& o) {
    for (const auto& [key, identity] : o.prefixes) state.prefixes[key] = identity;
  }
  void operator()(const RemovePrefixes& o) {
    for (const auto& key : o.prefixes) state.prefixes.erase(key);
  }
  void operator()(const PutUplink& o) { state.uplinks[o.uplink.ifindex] = o.uplink; }
  void operator()(const RemoveUplink& o) { state.uplinks.erase(o.ifindex); }
  void operator()(const PutSlotName& o) { state.slot_names[o.slot] = o.name; }
  void operator()(const RemoveSlotName& o) { state.slot_names.erase(o.slot); }
  void operator()(const PutIdentityName& o) { state.identity_names[o.identity] = o.name; }
  void operator()(const RemoveIdentityName& o) { state.identity_names.erase(o.identity); }
  void operator()(const PutGuest& o) { state.guests[o.endpoint_id] = o.guest; }
  void operator()(const RemoveGuest& o) { state.guests.erase(o.endpoint_id); }
  void operator()(const PutBounds& o) { state.bounds = o.bounds; }
  void operator()(const MakeQueues&) {}  // their indexes are read back
  void operator()(const RemoveQueues&) { state.shaper = {}; }
  void operator()(const PutShaper& o) { state.shaper_record = o.shaper; }
  void operator()(const PutClass& o) { state.shaper.classes[o.minor] = o.wanted; }
  void operator()(const RemoveClass& o) { state.shaper.classes.erase(o.minor); }
  void operator()(const PutQueue& o) { state.queues[o.endpoint_id] = o.queue; }
  void operator()(const RemoveQueue& o) { state.queues.erase(o.endpoint_id); }
  void operator()(const PutDevice& o) { state.devices.insert(o.ifindex); }
  void operator()(const RemoveDevice& o) { state.devices.erase(o.ifindex); }
};

constexpr std::array kNames = {"put_node",
                               "attach",
                               "detach",
                               "make_tables",
                               "remove_tables",
                               "put_rules",
                               "put_sources",
                               "remove_rules",
                               "put_policy",
                               "remove_policy",
                               "publish",
                               "put_endpoint",
                               "remove_endpoint",
                               "put_host_guest",
                               "remove_host_guest",
                               "put_prefixes",
                               "remove_prefixes",
                               "put_uplink",
                               "remove_uplink",
                               "put_slot_name",
                               "remove_slot_name",
                               "put_identity_name",
                               "remove_identity_name",
                               "put_guest",
                               "remove_guest",
                               "put_bounds",
                               "make_queues",
                               "remove_queues",
                               "put_shaper",
                               "put_class",
                               "remove_class",
                               "put_queue",
                               "remove_queue",
                               "put_device",
                               "remove_device",
                               "renumber_rules",
                               "copy_rules",
                               "copy_sources"};
static_assert(kNames.size() == std::variant_size_v<Operation>);

}  // namespace

const char* operation_name(const Operation& operation) { return kNames[operation.index()]; }

std::span<const char* const> operation_names() { return kNames; }

operation::PutRules copied(const operation::CopyRules& copy, operation::PutRules from) {
  std::erase_if(from.rules, [&](const auto& each) {
    return std::ranges::binary_search(copy.closed, decode_rule_prefix(each.first));
  });
  for (const IpPrefix& prefix : copy.closed)
    from.rules.emplace_back(encode_rule_key(copy.rules_id, prefix), encode_ranges({}, true));
  from.rules_id = copy.rules_id;
  from.digest = 0;
  for (auto& [key, ranges] : from.rules) {
    key.rules_id = copy.rules_id;
    from.digest += digest_rule(key, ranges);
  }
  for (auto& [key, ranges] : from.identity_rules) {
    key.rules_id = copy.rules_id;
    from.digest += digest_rule(key, ranges);
  }
  return from;
}

std::vector<std::pair<grantd_idrule_key, grantd_ranges>> renumbered(const operation::RenumberRules& renumber) {
  std::vector<std::pair<grantd_idrule_key, grantd_ranges>> rules;
  for (auto [key, ranges] : renumber.found) {
    key.identity = renumber.numbers.at(key.identity);
    if (key.identity != GRANTD_IDENTITY_NOBODY) rules.emplace_back(key, ranges);
  }
  return rules;
}

std::set<std::uint32_t> identities_in_use(const KernelState& state) {
  std::set<std::uint32_t> used;
  for (const auto& [key, number] : state.prefixes) used.insert(number);
  for (const auto& [rules_id, rules] : state.rule_sets)
    for (const grantd_idrule_key& key : rules.identity_rules) used.insert(key.identity);
  for (const auto& [policy_id, policy] : state.policies)
    used.insert({policy.identity, policy.grantor_identity, policy.grantee_identity});
  return used;
}

void note_unused_numbers(BootNanoseconds now, KernelState& state) {
  const auto used = identities_in_use(state);
  std::map<std::uint32_t, BootNanoseconds> unused;
  for (const auto& [number, name] : state.identity_names)
    if (const auto since = state.unused_since.find(number); !used.contains(number))
      unused[number] = since == state.unused_since.end() ? now : since->second;
  state.unused_since = std::move(unused);
}

void record(const Operation& operation, BootNanoseconds now, KernelState& state) {
  std::visit(Recorder{now, state}, operation);
}

}  // namespace grantd
