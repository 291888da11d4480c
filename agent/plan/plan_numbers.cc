#include "agent/plan/encode.h"
#include "agent/plan/planner.h"

#include <algorithm>

namespace grantd {

namespace {

template <typename Map>
std::uint64_t beyond_keys(const Map& map) {
  return map.empty() ? 1 : std::uint64_t{map.rbegin()->first} + 1;
}

// As many steps of 1 ms as the machine is up: more ids than one a millisecond nobody gives out.
std::uint32_t narrow_id(std::uint64_t visible, BootNanoseconds now) {
  constexpr std::uint64_t kStep = 1'000'000, kMost = std::uint64_t{1} << 31;
  return static_cast<std::uint32_t>(std::max(visible, std::min<std::uint64_t>(now / kStep, kMost)));
}

constexpr std::ptrdiff_t kMostResting = GRANTD_MAX_IDENTITIES / 2;

IdentityName was(const IdentityName& name) {
  using Kind = IdentityName::Kind;
  return {name.kind == Kind::Grant ? Kind::WasGrant : Kind::WasRealm, name.name};
}

// Whose number it is, or was.
IdentityName bearer_of(const IdentityName& name) {
  using Kind = IdentityName::Kind;
  if (name.kind == Kind::WasRealm) return {Kind::Realm, name.name};
  if (name.kind == Kind::WasGrant) return {Kind::Grant, name.name};
  return name;
}

}  // namespace

// Another version of the record's map, or a pin that somebody has removed: what counts the numbers is lost, and flows
// remember policies and endpoints of which nothing else is left. No number was given out as often as nanoseconds have
// passed, so the clock is beyond them all, also when it is lost once more.
void Planner::recover_numbers() {
  const bool counted =
      node_.next_policy_id || node_.next_endpoint_version || node_.next_endpoint_id || node_.next_rules_id;
  const bool in_use = !kernel_.published.empty() || !kernel_.policies.empty() || !kernel_.rule_sets.empty() ||
                      !kernel_.endpoints.empty() || !kernel_.host_guests.empty() || !kernel_.guests.empty() ||
                      kernel_.tables.upper_bound(0) != kernel_.tables.end();
  if (counted || !in_use) return;
  std::uint64_t policy = beyond_keys(kernel_.policies), version = 1, rules = beyond_keys(kernel_.rule_sets);
  for (const auto& [slot, policy_id] : kernel_.published) policy = std::max(policy, std::uint64_t{policy_id} + 1);
  for (const auto& [policy_id, record] : kernel_.policies) rules = std::max(rules, std::uint64_t{record.rules_id} + 1);
  std::uint64_t endpoint = std::max(beyond_keys(kernel_.guests), beyond_keys(kernel_.queues));
  const auto look = [&](const grantd_endpoint& record) {
    version = std::max(version, std::uint64_t{record.version} + 1);
    endpoint = std::max(endpoint, std::uint64_t{record.endpoint_id} + 1);
  };
  for (const auto& [ifindex, record] : kernel_.endpoints) look(record);
  for (const auto& [cgroup_id, record] : kernel_.host_guests) look(record);
  node_.next_policy_id = std::max<std::uint64_t>(policy, facts_.now);
  node_.next_endpoint_version = std::max<std::uint64_t>(version, facts_.now);
  node_.next_endpoint_id = narrow_id(endpoint, facts_.now);
  node_.next_rules_id = narrow_id(rules, facts_.now);
}

std::uint64_t Planner::take_policy_id() {
  if (node_.next_policy_id == 0) node_.next_policy_id = 1;
  return node_.next_policy_id++;
}

std::uint64_t Planner::take_version() {
  if (node_.next_endpoint_version == 0) node_.next_endpoint_version = 1;
  return node_.next_endpoint_version++;
}

std::uint32_t Planner::take_endpoint_id() {
  if (node_.next_endpoint_id == 0) node_.next_endpoint_id = 1;
  return node_.next_endpoint_id++;
}

std::uint32_t Planner::take_rules_id() {
  if (node_.next_rules_id == 0) node_.next_rules_id = 1;
  return node_.next_rules_id++;
}

// A Grant keeps its slot for as long as the slot bears its name.
void Planner::assign_slots() {
  std::map<std::string, std::uint32_t> known;
  for (const auto& [slot, name] : kernel_.slot_names) known[text_of(name.grant)] = slot;
  for (const RefusedGrant& grant : wanted_.refused) {
    wanted_grants_.insert(grant.key);
    if (const auto found = known.find(grant.key); found != known.end()) slots_[grant.key] = found->second;
  }
  std::uint32_t candidate = 1;
  const auto taken = [&](std::uint32_t slot) {
    return kernel_.slot_names.contains(slot) || kernel_.published.contains(slot) || kernel_.tables.contains(slot);
  };
  for (const CompiledGrant& grant : wanted_.grants) {
    wanted_grants_.insert(grant.key);
    if (const auto found = known.find(grant.key); found != known.end()) {
      slots_[grant.key] = found->second;
      continue;
    }
    while (candidate < facts_.slots && taken(candidate)) candidate++;
    if (candidate >= facts_.slots) {
      report("Grant " + grant.key, "no slot is left on this node; its guests are in quarantine",
             "at most " + std::to_string(facts_.slots - 1) + " Grants");
      plan_.next_due = std::min(plan_.next_due, facts_.now + kRetireAfter);
      continue;
    }
    slots_[grant.key] = candidate++;
  }
}

void Planner::assign_identities() {
  std::set<IdentityName> names = names_of_refused();
  for (const CompiledPrefix& each : wanted_.prefixes) names.insert(each.identity);
  for (const CompiledGrant& grant : wanted_.grants) {
    names.insert({IdentityName::Kind::Grant, grant.key});
    for (const CompiledIdentityRule& rule : grant.identity_rules) names.insert(rule.identity);
  }
  std::map<IdentityName, std::uint32_t> known;
  for (const auto& [number, name] : kernel_.identity_names) known[name] = number;
  for (const IdentityName& name : names) {
    if (name.kind == IdentityName::Kind::Nobody) continue;
    if (name.kind == IdentityName::Kind::LocalNode)
      identities_[name] = GRANTD_IDENTITY_LOCAL_NODE;
    else if (const auto found = known.find(name); found != known.end())
      identities_[name] = found->second;
    else
      number_anew(name, After::Nothing);
  }
}

// Whom the rules of a Grant mean that stays as it is. Who has no address for a while keeps a number all the same: no
// manifest says any more what to open for it.
std::set<IdentityName> Planner::names_of_refused() const {
  std::set<IdentityName> names;
  for (const RefusedGrant& grant : wanted_.refused) {
    const auto slot = slots_.find(grant.key);
    const auto published = slot == slots_.end() ? kernel_.published.end() : kernel_.published.find(slot->second);
    const auto policy =
        published == kernel_.published.end() ? kernel_.policies.end() : kernel_.policies.find(published->second);
    if (policy == kernel_.policies.end()) continue;
    std::set<std::uint32_t> numbers = {policy->second.identity, policy->second.grantor_identity,
                                       policy->second.grantee_identity};
    if (const auto rules = kernel_.rule_sets.find(policy->second.rules_id); rules != kernel_.rule_sets.end())
      for (const grantd_idrule_key& key : rules->second.identity_rules) numbers.insert(key.identity);
    for (const std::uint32_t number : numbers)
      if (const auto name = kernel_.identity_names.find(number); name != kernel_.identity_names.end())
        names.insert(bearer_of(name->second));
  }
  return names;
}

// Each number is given out once for as long as there are such: flows remember for a day who began them (decision 68).
// The highest keeps its name, also when nothing bears it any more, and says so. In the plan that gives out the last one
// none comes again: it has to be written down first.
void Planner::begin_numbers() {
  const auto next =
      static_cast<std::uint32_t>(std::max<std::uint64_t>(beyond_keys(kernel_.identity_names), GRANTD_IDENTITY_FIRST));
  // With the names their count is lost; and rules may bear the last one though its name could not be written.
  unmarked_ = next <= GRANTD_MAX_IDENTITIES && (numbers_in_use_.contains(GRANTD_MAX_IDENTITIES) ||
                                                (kernel_.identity_names.empty() && !kernel_.published.empty()));
  numbers_repeat_ = unmarked_ || next > GRANTD_MAX_IDENTITIES;
  if (!numbers_repeat_) next_identity_ = next;
  if (unmarked_)
    add(Close, kLossesSubject,
        operation::PutIdentityName{GRANTD_MAX_IDENTITIES, {IdentityName::Kind::WasRealm, "unknown"}});
}

// Not one that is in use without a name, where the names are lost: rules in force still mean its old bearer. Nor one
// that rests, and so has a name.
void Planner::number_anew(const IdentityName& name, After after) {
  auto& number = next_identity_;
  while (number <= GRANTD_MAX_IDENTITIES &&
         (kernel_.identity_names.contains(number) || numbers_in_use_.contains(number)))
    number++;
  if (number > GRANTD_MAX_IDENTITIES || (resting_ >= kMostResting && loses_guests(name, after))) {
    no_number_for(name);
    return;
  }
  identities_[name] = number;
  // A Grant's policy says it of its guests, so that waits for the name too.
  add(Fill, name.kind == IdentityName::Kind::Grant ? grant_subject(name.name) : kIdentitiesSubject,
      operation::PutIdentityName{number, name}, unmarked_ ? After::Losses : after);
  number++;
}

// Whoever makes pods come and go is not to take the numbers of Realms and of other Grants.
bool Planner::loses_guests(const IdentityName& name, After after) const {
  if (name.kind != IdentityName::Kind::Grant) return false;
  return after == After::Losses || std::any_of(kernel_.identity_names.begin(), kernel_.identity_names.end(),
                                               [&](const auto& each) { return each.second == was(name); });
}

void Planner::no_number_for(const IdentityName& name) {
  report("identity of " + name.name, "no number is left; it is nobody on this node until one is free",
         "at most " + std::to_string(GRANTD_MAX_IDENTITIES) +
             " Realms and Grants together, with those that are gone or have lost an address since " +
             std::to_string(kNumberRests / GRANTD_NS_PER_SECOND) + " s; of Grants that lost one, at most " +
             std::to_string(kMostResting));
  plan_.next_due = std::min(plan_.next_due, facts_.now + kRetireAfter);
  identities_.erase(name);
}

// A packet that the node holds may bear the number of a realm, or of a Grant's guests, that loses its sender meanwhile
// (decision 65). So the number is theirs no more. That is written down before the address is taken away: whoever finds
// it knows what is still to be done.
bool Planner::renumber_losers() {
  // By their policy guests bear the number of now, whatever their addresses still bear.
  for (const auto& [number, name] : kernel_.identity_names)
    if (name.kind == IdentityName::Kind::WasGrant && losers_.contains(number))
      losers_.insert(number_of(bearer_of(name)));
  bool any = false;
  for (const auto& [number, name] : kernel_.identity_names) {
    if (name != bearer_of(name) || !losers_.contains(number)) continue;
    add(Close, kLossesSubject, operation::PutIdentityName{number, was(name)});
    if (number_of(name) == number) number_anew(name, After::Losses);
    resting_ += name.kind == IdentityName::Kind::Grant;
    renumbered_[number] = 0;
    any = true;
  }
  const auto losers = losers_;
  for (const auto& [number, name] : kernel_.identity_names) {
    const IdentityName bearer = bearer_of(name);
    if (name == bearer && !renumbered_.contains(number)) continue;
    renumbered_[number] = number_of(bearer);
    if (losers.contains(number)) losers_.insert(number_of(bearer));
  }
  return any;
}

std::uint32_t Planner::renumbered(std::uint32_t number) const {
  const auto found = renumbered_.find(number);
  return found == renumbered_.end() ? number : found->second;
}

std::uint32_t Planner::number_of(const IdentityName& name) const {
  const auto found = identities_.find(name);
  return found == identities_.end() ? GRANTD_IDENTITY_NOBODY : found->second;
}

}  // namespace grantd
