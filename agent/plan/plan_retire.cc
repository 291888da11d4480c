#include "agent/plan/encode.h"
#include "agent/plan/planner.h"
#include "maps/fixed_text.h"

#include <algorithm>

namespace grantd {

namespace {
constexpr const char* kSubject = "retired";
// The kernel waits for a grace period in each removal, some 50 ms for the tables of one slot, and edits wait for that.
constexpr std::size_t kTablesAtOnce = 1;
}  // namespace

void Planner::retire() {
  std::set<std::uint64_t> kept;
  retire_policies(kept);
  retire_rules(kept);
  retire_slots(kept);
  retire_names();
}

// Rule 6: a program that runs may still read what was in force a moment ago.
void Planner::retire_policies(std::set<std::uint64_t>& kept) {
  std::set<std::uint64_t> in_force;
  for (const auto& [slot, policy_id] : published_) in_force.insert(policy_id);
  for (const auto& [policy_id, policy] : kernel_.policies) {
    if (in_force.contains(policy_id)) {
      kept.insert(policy_id);
      continue;
    }
    const auto since = kernel_.retired_at.find(policy_id);
    const BootNanoseconds due = (since == kernel_.retired_at.end() ? facts_.now : since->second) + kRetireAfter;
    if (facts_.now >= due) {
      add(Retire, kSubject, operation::RemovePolicy{policy_id});
    } else {
      kept.insert(policy_id);
      plan_.next_due = std::min(plan_.next_due, due);
    }
  }
}

void Planner::retire_rules(const std::set<std::uint64_t>& kept) {
  std::set<std::uint32_t> used;
  for (std::uint64_t policy_id : kept) used.insert(kernel_.policies.at(policy_id).rules_id);
  for (const auto& [policy_id, rules_id] : new_policies_) used.insert(rules_id);
  for (const auto& [rules_id, rules] : kernel_.rule_sets)
    if (!used.contains(rules_id)) {
      std::vector<grantd_rule_key> keys;
      keys.reserve(rules.rules.size());
      for (const KnownRule& rule : rules.rules) keys.push_back(rule.key);
      add(Retire, kSubject, operation::RemoveRules{rules_id, std::move(keys), rules.identity_rules, rules.sources});
    }
}

void Planner::retire_slots(const std::set<std::uint64_t>& kept) {
  std::set<std::uint32_t> used = used_slots_;
  for (const auto& [name, slot] : slots_) used.insert(slot);
  for (std::uint64_t policy_id : kept) used.insert(kernel_.policies.at(policy_id).slot);
  operation::RemoveTables remove;
  for (const auto& [slot, flows] : kernel_.tables) {
    if (slot == 0 || used.contains(slot)) continue;
    if (remove.slots.size() < kTablesAtOnce) {
      remove.slots.push_back(slot);
    } else {
      used.insert(slot);
      plan_.next_due = facts_.now;
    }
  }
  if (!remove.slots.empty()) add(Retire, kSubject, std::move(remove));
  for (const auto& [slot, name] : kernel_.slot_names)
    if (!used.contains(slot)) add(Retire, kSubject, operation::RemoveSlotName{slot});
}

void Planner::retire_names() {
  std::set<std::uint32_t> used = numbers_in_use_;
  for (const auto& [name, number] : identities_) used.insert(number);
  for (const auto& [number, name] : kernel_.identity_names) {
    if (used.contains(number) || number == kernel_.identity_names.rbegin()->first) continue;
    const auto since = kernel_.unused_since.find(number);
    const BootNanoseconds due = (since == kernel_.unused_since.end() ? facts_.now : since->second) + kNumberRests;
    if (facts_.now >= due)
      add(Retire, kSubject, operation::RemoveIdentityName{number});
    else
      plan_.next_due = std::min(plan_.next_due, due);
  }
  // Not where a step for the guest has failed: its record may still bear the number.
  for (const auto& [endpoint_id, guest] : kernel_.guests)
    if (!used_guests_.contains(endpoint_id))
      add(Retire, guest_subject(text_of(guest.guest)), operation::RemoveGuest{endpoint_id});
}

}  // namespace grantd
