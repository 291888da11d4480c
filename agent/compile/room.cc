#include "agent/compile/room.h"

#include "agent/compile/refusal.h"

#include <algorithm>

namespace grantd {

namespace {

// More than is held only where the limit allows it.
bool fits(std::size_t wanted, std::size_t held, std::size_t used, std::size_t limit) {
  return wanted <= held || used - held + wanted <= limit;
}

std::string left(std::size_t used, std::size_t limit) { return std::to_string(limit > used ? limit - used : 0); }

}  // namespace

std::size_t room_for_rules(std::size_t rules, std::size_t identity_rules, std::size_t destinations) {
  return std::max(rules + identity_rules, destinations);
}

Room::Room(const Limits& limits, const DesiredState& desired, const InForce& in_force)
    : limits_(limits), in_force_(in_force) {
  for (const Grant& grant : desired.grants) {
    const auto held = in_force.grants.find(grant.key());
    if (held == in_force.grants.end()) continue;
    grants_++;
    identities_++;
    rules_ += held->second.rules;
    flows_ += held->second.flows;
  }
  std::set<std::string> fresh;
  for (const Realm& realm : desired.realms)
    if (in_force.realms.contains(realm.name))
      identities_++;
    else
      fresh.insert(realm.name);
  for (const std::string& realm : fresh)
    if (identities_ < limits.identities)
      identities_++;
    else
      without_identity_.insert(realm);
  refused_[GRANTD_BOUND_IDENTITIES] = without_identity_.size();
}

HeldRoom Room::held_by(const std::string& grant) const {
  const auto found = in_force_.grants.find(grant);
  return found == in_force_.grants.end() ? HeldRoom{} : found->second;
}

Result<void> Room::take_table(const std::string& grant, Problem& wrong) {
  if (held_by(grant).flows > 0) return {};
  if (!fits(limits_.flows_per_grant, 0, flows_, limits_.flows)) {
    refused_[GRANTD_BOUND_FLOWS]++;
    return refusal(wrong,
                   "needs a flow table of " + std::to_string(limits_.flows_per_grant) + " flows, and " +
                       left(flows_, limits_.flows) + " are left of --max-flows " + std::to_string(limits_.flows),
                   "fewer Grants with guests on this node, fewer --flows-per-grant, or a higher limit");
  }
  flows_ += limits_.flows_per_grant;
  return {};
}

Result<void> Room::take(const CompiledGrant& grant, bool with_table, Problem& wrong) {
  const bool in_force = holds(grant.key);
  if (!in_force && grants_ >= limits_.grants) {
    refused_[GRANTD_BOUND_GRANTS]++;
    return refusal(wrong, "no room for another Grant on this node: --max-grants is " + std::to_string(limits_.grants),
                   "fewer Grants, or a higher limit");
  }
  if (!in_force && identities_ >= limits_.identities) {
    refused_[GRANTD_BOUND_IDENTITIES]++;
    return refusal(
        wrong,
        "no identity is left for another Grant on this node: --max-identities is " + std::to_string(limits_.identities),
        "fewer Realms and Grants, or a higher limit");
  }
  const std::size_t held = held_by(grant.key).rules;
  const std::size_t rules = room_for_rules(grant.rules.size(), grant.identity_rules.size(), grant.sources.size());
  if (!fits(rules, held, rules_, limits_.rules)) {
    refused_[GRANTD_BOUND_RULES]++;
    return refusal(wrong,
                   "needs " + std::to_string(rules) + " rules, and " + left(rules_ - held, limits_.rules) +
                       " are left of --max-rules " + std::to_string(limits_.rules),
                   "fewer destinations, or a higher limit");
  }
  if (with_table)
    if (auto table = take_table(grant.key, wrong); !table) return table;
  rules_ = rules_ - held + rules;
  grants_ += !in_force;
  identities_ += !in_force;
  return {};
}

bool Room::take_left(const CompiledGrant& grant) {
  const std::size_t rules = room_for_rules(grant.rules.size(), grant.identity_rules.size(), grant.sources.size());
  const std::size_t flows = held_by(grant.key).flows;
  if (grants_ >= limits_.grants || identities_ >= limits_.identities || !fits(rules, 0, rules_, limits_.rules) ||
      !fits(flows, 0, flows_, limits_.flows))
    return false;
  grants_++;
  identities_++;
  rules_ += rules;
  flows_ += flows;
  return true;
}

void Room::tell(Bounds& bounds) const {
  bounds[GRANTD_BOUND_GRANTS] = {limits_.grants, grants_, refused_[GRANTD_BOUND_GRANTS]};
  bounds[GRANTD_BOUND_RULES] = {limits_.rules, rules_, refused_[GRANTD_BOUND_RULES]};
  bounds[GRANTD_BOUND_IDENTITIES] = {limits_.identities, identities_, refused_[GRANTD_BOUND_IDENTITIES]};
  bounds[GRANTD_BOUND_FLOWS] = {limits_.flows, flows_, refused_[GRANTD_BOUND_FLOWS]};
}

void give_records(const Limits& limits, const NodeFacts& node, std::vector<CompiledEndpoint>& endpoints,
                  grantd_bound& bound) {
  const InForce& in_force = node.in_force;
  std::set<std::uint32_t> interfaces;
  std::set<std::uint64_t> cgroups;
  for (const CompiledEndpoint& each : endpoints) {
    if (each.host_network)
      cgroups.insert(each.cgroup_id);
    else
      interfaces.insert(each.ifindex);
  }
  const auto has_record = [&](const CompiledEndpoint& each) {
    return each.host_network ? in_force.cgroups.contains(each.cgroup_id) : in_force.interfaces.contains(each.ifindex);
  };
  bound = {limits.endpoints, 0, 0};
  // Of Workloads that are gone: closed, with a record, for as long as their interface is there.
  for (const InterfaceFact& each : node.interfaces)
    bound.used += in_force.interfaces.contains(each.ifindex) && !interfaces.contains(each.ifindex);
  for (std::uint64_t cgroup : in_force.cgroups) bound.used += !cgroups.contains(cgroup);
  for (const CompiledEndpoint& each : endpoints) bound.used += has_record(each);
  for (CompiledEndpoint& each : endpoints) {
    if (has_record(each)) continue;
    each.without_record = bound.used >= bound.most;
    (each.without_record ? bound.refused : bound.used)++;
  }
}

}  // namespace grantd
