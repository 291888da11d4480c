#include "agent/plan/in_force.h"

#include "agent/compile/room.h"
#include "agent/plan/encode.h"
#include "maps/fixed_text.h"

#include <utility>

namespace grantd {

namespace {

std::size_t rules_in_force(const KernelState& kernel, std::uint32_t slot) {
  const auto published = kernel.published.find(slot);
  if (published == kernel.published.end()) return 0;
  const auto policy = kernel.policies.find(published->second);
  if (policy == kernel.policies.end()) return 0;
  const auto set = kernel.rule_sets.find(policy->second.rules_id);
  if (set == kernel.rule_sets.end()) return 0;
  return room_for_rules(set->second.rules.size(), set->second.identity_rules.size(), set->second.sources.size());
}

}  // namespace

InForce in_force(const KernelState& kernel) {
  InForce result;
  for (const auto& [slot, name] : kernel.slot_names) {
    HeldRoom& held = result.grants[text_of(name.grant)];
    held.rules = rules_in_force(kernel, slot);
    if (const auto table = kernel.tables.find(slot); table != kernel.tables.end()) held.flows = table->second;
    held.published = kernel.published.contains(slot);
    if (const auto since = kernel.without_guests_since.find(slot); since != kernel.without_guests_since.end())
      held.without_guests_since = since->second;
  }
  for (const auto& [ifindex, record] : kernel.endpoints) result.interfaces.insert(ifindex);
  for (const auto& [cgroup, record] : kernel.host_guests)
    if (record.flags & GRANTD_ENDPOINT_HOST_NETWORK) result.cgroups.insert(cgroup);
  for (const auto& [number, name] : kernel.identity_names)
    if (name.kind == IdentityName::Kind::Realm) result.realms.insert(name.name);
  result.prefixes = kernel.prefixes.size();
  return result;
}

void note_slots_without_guests(BootNanoseconds now, KernelState& state) {
  std::set<std::uint32_t> with_guests;
  for (const auto& [ifindex, record] : state.endpoints) with_guests.insert(record.slot);
  for (const auto& [cgroup, record] : state.host_guests) with_guests.insert(record.slot);
  std::map<std::uint32_t, BootNanoseconds> without;
  for (const auto& [slot, policy_id] : state.published)
    if (const auto since = state.without_guests_since.find(slot); !with_guests.contains(slot))
      without[slot] = since == state.without_guests_since.end() ? now : since->second;
  state.without_guests_since = std::move(without);
}

void keep_macs(const KernelState& kernel, std::vector<InterfaceFact>& interfaces) {
  for (InterfaceFact& interface : interfaces) {
    const auto endpoint = kernel.endpoints.find(interface.ifindex);
    const bool attached = kernel.stands_on(interface.ifindex);
    if (interface.master == 0 || interface.layer3 || endpoint == kernel.endpoints.end() || !attached) continue;
    const MacAddress first = decode_mac(endpoint->second);
    if (first != MacAddress{}) interface.peer_mac = first;  // else the kernel had told of none
  }
}

}  // namespace grantd
