// What must never be believed, whatever the agent does between: flows and packets of earlier steps.
#pragma once

#include "agent/plan/encode.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/plan_fixture.h"

#include <rapidcheck.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <tuple>

namespace grantd::model {

inline std::string owner_of(const KernelState& state, const PrefixKey& key) {
  const auto number = state.prefixes.at(key);
  const auto name = state.identity_names.find(number);
  using Kind = IdentityName::Kind;
  // A number that was somebody's is in no rule: nobody is believed there.
  const bool is_theirs =
      name != state.identity_names.end() && name->second.kind != Kind::WasRealm && name->second.kind != Kind::WasGrant;
  return is_theirs ? name->second.name : "";
}

inline const PrefixKey* prefix_at(const KernelState& state, std::uint8_t uplink_class, const IpAddress& address) {
  const PrefixKey* longest = nullptr;
  for (const auto& [key, number] : state.prefixes)
    if (key.uplink_class == uplink_class && key.prefix.contains(address) &&
        (!longest || key.prefix.length > longest->prefix.length))
      longest = &key;
  return longest;
}

inline std::string owner_at(const KernelState& state, std::uint8_t uplink_class, const IpAddress& address) {
  const PrefixKey* prefix = prefix_at(state, uplink_class, address);
  return prefix ? owner_of(state, *prefix) : "";
}

// Under which epoch of a slot and by which number who was believed at which address: a flow of then goes on as long as
// that number may reach in.
class Flows {
 public:
  // No policy in force may go on with flows of somebody who has lost the address meanwhile.
  void check(const KernelState& state) const {
    for (const auto& [slot, epoch, number, name, uplink_class, address] : begun_)
      if (goes_on(state, {slot, epoch, number})) RC_ASSERT(owner_at(state, uplink_class, address) == name);
  }
  void begin(const KernelState& state) {
    for (const auto& [slot, policy_id] : state.published)
      for (const char* text : {"192.0.2.1", "192.0.2.129", "100.64.7.1", "198.51.100.1", "fd7a:115c:a1e0:b0b::1"})
        for (std::uint8_t uplink_class = 0; uplink_class < 8; uplink_class++) {
          const IpAddress address = desired::address(text);
          const std::string owner = owner_at(state, uplink_class, address);
          if (owner.empty()) continue;
          const std::uint32_t epoch = state.policies.at(policy_id).realm_epoch;
          const std::uint32_t number = state.prefixes.at(*prefix_at(state, uplink_class, address));
          if (goes_on(state, {slot, epoch, number})) begun_.insert({slot, epoch, number, owner, uplink_class, address});
        }
  }
  std::size_t count() const { return begun_.size(); }

 private:
  std::set<std::tuple<std::uint32_t, std::uint32_t, std::uint32_t, std::string, std::uint8_t, IpAddress>> begun_;
};

// Packets that bear the stamp of an earlier step: the node may hold one as long as a fragment or a neighbour's answer.
class HeldPackets {
 public:
  // No policy in force takes one for somebody's who has lost the address meanwhile, or for another's.
  void check(const KernelState& state, BootNanoseconds now) {
    std::erase_if(held_, [&](const auto& each) { return now > each.second + 120 * GRANTD_NS_PER_SECOND; });
    std::set<std::uint32_t> admitted;
    for (const auto& [slot, policy_id] : state.published)
      for (const grantd_idrule_key& key : state.rule_sets.at(state.policies.at(policy_id).rules_id).identity_rules)
        if (key.direction == GRANTD_INGRESS) admitted.insert(key.identity);
    for (const auto& [packet, since] : held_) {
      const auto& [number, uplink_class, address, name] = packet;
      if (!admitted.contains(number)) continue;
      RC_ASSERT(state.identity_names.at(number) == name);
      RC_ASSERT(owner_at(state, uplink_class, address) == name.name);
    }
  }
  void stamp(const KernelState& state, BootNanoseconds now) {
    for (const char* text : {"192.0.2.1", "192.0.2.129", "100.64.7.1", "198.51.100.1", "fd7a:115c:a1e0:b0b::1"})
      for (std::uint8_t uplink_class = GRANTD_UPLINK_TAILNET; uplink_class < 8; uplink_class++) {
        const IpAddress address = desired::address(text);
        const PrefixKey* prefix = prefix_at(state, uplink_class, address);
        if (!prefix || owner_of(state, *prefix).empty()) continue;
        const IdentityName name{IdentityName::Kind::Realm, owner_of(state, *prefix)};
        held_[{state.prefixes.at(*prefix), uplink_class, address, name}] = now;
      }
    // A guest's own, by the policy that it is under.
    for (const auto& [ifindex, endpoint] : state.endpoints) {
      const auto published = state.published.find(endpoint.slot);
      if (published == state.published.end()) continue;
      const std::uint32_t number = state.policies.at(published->second).identity;
      const IdentityName name{IdentityName::Kind::Grant, text_of(state.slot_names.at(endpoint.slot).grant)};
      for (const IpAddress& address : used_addresses(endpoint))
        if (owner_at(state, GRANTD_UPLINK_DESTINATION, address) == name.name)
          held_[{number, GRANTD_UPLINK_DESTINATION, address, name}] = now;
    }
  }
  std::size_t count() const { return held_.size(); }

 private:
  // Since when.
  std::map<std::tuple<std::uint32_t, std::uint8_t, IpAddress, IdentityName>, BootNanoseconds> held_;
};

}  // namespace grantd::model
