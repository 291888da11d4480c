#include "agent/plan/encode.h"
#include "agent/plan/planner.h"
#include "agent/plan/rule_walk.h"
#include "agent/plan/width.h"

#include <algorithm>
#include <cstring>

namespace grantd {

namespace {

// Epochs of realms are never 0: a flow of that one waits for its peer.
std::uint32_t never_zero(std::uint32_t epoch) { return epoch ? epoch : 1; }

bool is_dated(const grantd_policy& policy) {
  return policy.not_before_ns != 0 || (policy.not_after_ns != GRANTD_TIME_NEVER && policy.not_after_ns != kAtOnce);
}

// The clock was set since its end was reckoned. Ahead: it is nearer.
BootNanoseconds after_clock(BootNanoseconds not_after, std::uint64_t before_ns, std::uint64_t now_ns) {
  if (before_ns == 0 || now_ns <= before_ns || not_after == GRANTD_TIME_NEVER) return not_after;
  const std::uint64_t ahead = now_ns - before_ns;
  return not_after > ahead ? not_after - ahead : kAtOnce;
}

bool differ_in_identities(const grantd_policy& one, const grantd_policy& other) {
  return one.identity != other.identity || one.grantor_identity != other.grantor_identity ||
         one.grantee_identity != other.grantee_identity;
}

}  // namespace

void Planner::plan_grants() {
  release_slots();
  for (const CompiledGrant& grant : wanted_.grants) {
    const auto slot = slots_.find(grant.key);
    if (slot != slots_.end()) plan_grant(grant, slot->second);
  }
  for (const RefusedGrant& grant : wanted_.refused) keep_refused(grant);
}

// A revocation closes the destinations at once and leaves the parties until its notice is over. The rules in force
// cannot be parted so: all of them end.
bool Planner::end_sooner(const RefusedGrant& grant, grantd_policy& policy) const {
  BootNanoseconds end = after_clock(policy.not_after_ns, kernel_.node.boot_to_wall_ns, facts_.boot_to_wall_ns);
  auto reason = static_cast<grantd_reason>(policy.end_reason);
  if (grant.not_after < end) {
    end = grant.not_after;
    reason = grant.end_reason;
  }
  if (grant.revoked && policy.end_reason != GRANTD_REASON_REVOKED) {
    end = kAtOnce;
    reason = GRANTD_REASON_REVOKED;
  }
  if (end >= policy.not_after_ns) return false;
  policy.not_after_ns = end;
  policy.end_reason = reason;
  return true;
}

// What the rules of before open since they were made before it became one of the protected ranges, those that lie
// inside too: they hold what wider ones open.
std::vector<IpPrefix> Planner::unprotected(const RuleSet& rules) const {
  std::vector<grantd_rule_key> ranges;
  for (const IpPrefix& each : wanted_.protected_ranges) ranges.push_back(encode_rule_key(0, each));
  std::sort(ranges.begin(), ranges.end(), comes_before);
  RuleWalk<KnownRule> walk(rules.rules, [](const KnownRule& rule) -> const grantd_rule_key& { return rule.key; });
  std::set<IpPrefix> closed;
  for (const grantd_rule_key& range : ranges) {
    const KnownRule* rule = walk.around(range);
    if (!rule || !rule->opens || (rule->key.prefixlen == range.prefixlen && rule->protects)) continue;
    closed.insert(decode_rule_prefix(range));
    walk.for_each_inside(range, [&](const KnownRule& inside) {
      if (inside.opens && !inside.protects) closed.insert(decode_rule_prefix(inside.key));
    });
  }
  return {closed.begin(), closed.end()};
}

// A Grant that was refused keeps the policy in force; but where a realm of its rules loses addresses,
// its flows are in doubt like all others, it ends no later than it says now, and what is protected since is closed.
void Planner::keep_refused(const RefusedGrant& grant) {
  const std::string subject = grant_subject(grant.key);
  const auto slot = slots_.find(grant.key);
  if (slot == slots_.end()) return;
  const auto published = kernel_.published.find(slot->second);
  if (published == kernel_.published.end()) return;
  const auto current = kernel_.policies.find(published->second);
  if (current == kernel_.policies.end()) {
    // Its record is lost, and nobody could tell its flows any more that a realm lost an address.
    close(subject, slot->second);
    return;
  }
  const auto rules = kernel_.rule_sets.find(current->second.rules_id);
  bool loses = false;
  // Where the map of its identity rules is lost, any of them may have been one.
  if (rules == kernel_.rule_sets.end() || rules->second.identity_rules.empty())
    loses = !losers_.empty();
  else
    for (const grantd_idrule_key& key : rules->second.identity_rules) loses = loses || losers_.contains(key.identity);
  grantd_policy policy = current->second;
  if (is_dated(policy) && !facts_.clock_trusted) {
    close(subject, slot->second);
    return;
  }
  const bool ends = end_sooner(grant, policy), numbers = renumber(subject, policy);
  std::vector<IpPrefix> closed;
  if (rules != kernel_.rule_sets.end()) closed = unprotected(rules->second);
  if (!ends && !numbers && !loses && !unsettled_ && closed.empty()) return;
  if (!closed.empty()) {
    policy.rules_id = take_rules_id();
    add(Fill, subject, operation::CopyRules{policy.rules_id, rules->first, std::move(closed)});
    add(Names, subject, operation::CopySources{policy.rules_id, rules->first, rules->second.sources});
  }
  if (numbers_repeat_ && (loses || unsettled_ || differ_in_identities(policy, current->second)))
    policy.realm_epoch = never_zero(policy.realm_epoch + 1);
  publish(subject, slot->second, policy, Narrows::Yes, loses ? After::Losses : After::Nothing);
}

// Of a Grant that keeps its policy: what it names by a number that was somebody's. True where there is any.
bool Planner::renumber(const std::string& subject, grantd_policy& policy) {
  const grantd_policy before = policy;
  policy.identity = renumbered(policy.identity);
  policy.grantor_identity = renumbered(policy.grantor_identity);
  policy.grantee_identity = renumbered(policy.grantee_identity);
  std::map<std::uint32_t, std::uint32_t> numbers;
  if (const auto found = kernel_.rule_sets.find(policy.rules_id); found != kernel_.rule_sets.end())
    numbers = renumbered_in(found->second);
  if (!numbers.empty()) add(Fill, subject, operation::RenumberRules{policy.rules_id, numbers, {}});
  return !numbers.empty() || !same_bytes(before, policy);
}

std::map<std::uint32_t, std::uint32_t> Planner::renumbered_in(const RuleSet& rules) const {
  std::map<std::uint32_t, std::uint32_t> numbers;
  for (const grantd_idrule_key& key : rules.identity_rules)
    if (renumbered_.contains(key.identity)) numbers[key.identity] = renumbered(key.identity);
  return numbers;
}

// Most changes of numbers come with pods, which come and go: no reason to write all rules again.
bool Planner::differ_in_numbers_alone(const operation::PutRules& wanted, const RuleSet& have) const {
  std::map<std::uint32_t, std::uint32_t> before;
  for (const auto& [number, now] : renumbered_in(have)) before[now] = number;
  if (before.empty() || have.rules.size() != wanted.rules.size() ||
      have.identity_rules.size() != wanted.identity_rules.size())
    return false;
  std::uint64_t digest = wanted.digest;
  for (auto [key, ranges] : wanted.identity_rules) {
    const auto number = before.find(key.identity);
    if (number == before.end()) continue;
    digest -= digest_rule(key, ranges);
    key.identity = number->second;
    digest += digest_rule(key, ranges);
  }
  return digest == have.digest;
}

void Planner::publish(const std::string& subject, std::uint32_t slot, const grantd_policy& policy, Narrows narrows,
                      After after) {
  const std::uint64_t policy_id = take_policy_id();
  new_policies_[policy_id] = policy.rules_id;
  made_policies_[policy_id] = policy;
  add(Fill, subject, operation::PutPolicy{policy_id, policy});
  add(PublishPhase, subject, operation::Publish{slot, policy_id}, after);
  phases_[PublishPhase].back().narrows = narrows;
  published_[slot] = policy_id;
}

void Planner::close(const std::string& subject, std::uint32_t slot) {
  phases_[Close].push_back(closing(slot, subject));
  published_.erase(slot);
}

// Slots of Grants that are gone: quarantine at once; the rest is taken away when nothing uses it.
void Planner::release_slots() {
  for (const auto& [slot, policy_id] : kernel_.published) {
    const auto name = kernel_.slot_names.find(slot);
    if (name != kernel_.slot_names.end() && wanted_grants_.contains(text_of(name->second.grant))) continue;
    close(slot_subject(kernel_, slot), slot);
  }
}

// Rules that name an identity which loses addresses. Where the new ones do not name it, its flows are refused.
bool Planner::touches_loser(const CompiledGrant& grant) const {
  if (losers_.empty()) return false;
  for (const CompiledIdentityRule& rule : grant.identity_rules)
    if (losers_.contains(number_of(rule.identity))) return true;
  return losers_.contains(number_of({IdentityName::Kind::Grant, grant.key}));
}

// Whoever may reach in again may bear a number that was another's when the Grant last named it.
bool Planner::names_anew(const CompiledGrant& grant, const grantd_policy& current) const {
  const auto rules = kernel_.rule_sets.find(current.rules_id);
  if (rules == kernel_.rule_sets.end()) return true;
  std::set<std::uint32_t> named;
  for (const grantd_idrule_key& key : rules->second.identity_rules)
    if (key.direction == GRANTD_INGRESS) named.insert(key.identity);
  return std::any_of(grant.identity_rules.begin(), grant.identity_rules.end(), [&](const CompiledIdentityRule& rule) {
    const std::uint32_t identity = number_of(rule.identity);
    return rule.direction == GRANTD_INGRESS && identity != GRANTD_IDENTITY_NOBODY && !named.contains(identity);
  });
}

std::uint32_t Planner::plan_rules(const CompiledGrant& grant, const grantd_policy* current,
                                  const std::string& subject) {
  operation::PutRules put{};
  put.rules.reserve(grant.rules.size());
  for (const CompiledRule& rule : grant.rules)
    put.rules.emplace_back(encode_rule_key(0, rule.prefix), encode_ranges(rule.ranges, rule.protected_range));
  for (const CompiledIdentityRule& rule : grant.identity_rules) {
    const std::uint32_t identity = number_of(rule.identity);
    if (identity == GRANTD_IDENTITY_NOBODY) continue;
    put.identity_rules.emplace_back(grantd_idrule_key{0, identity, static_cast<std::uint32_t>(rule.direction)},
                                    encode_ranges(rule.ranges, false));
  }
  for (const auto& [key, ranges] : put.rules) put.digest += digest_rule(key, ranges);
  for (const auto& [key, ranges] : put.identity_rules) put.digest += digest_rule(key, ranges);

  operation::PutSources sources{};
  for (std::size_t index = 0; index < grant.sources.size(); index++)
    sources.digest += digest_source(static_cast<std::uint16_t>(index + 1), encode_source(grant.sources[index]));
  std::uint32_t rules_id = 0;
  std::uint64_t sources_digest = 0;
  if (current) {
    const auto have = kernel_.rule_sets.find(current->rules_id);
    if (have != kernel_.rule_sets.end() && have->second.digest == put.digest &&
        have->second.rules.size() == put.rules.size() &&
        have->second.identity_rules.size() == put.identity_rules.size()) {
      rules_id = current->rules_id;
      sources_digest = have->second.sources_digest;
    } else if (have != kernel_.rule_sets.end() && differ_in_numbers_alone(put, have->second)) {
      rules_id = current->rules_id;
      sources_digest = have->second.sources_digest;
      add(Fill, subject, operation::RenumberRules{rules_id, renumbered_in(have->second), {}});
    }
  }
  if (rules_id == 0) {
    rules_id = take_rules_id();
    for (auto& [key, ranges] : put.rules) key.rules_id = rules_id;
    for (auto& [key, ranges] : put.identity_rules) key.rules_id = rules_id;
    put.rules_id = rules_id;
    add(Fill, subject, std::move(put));
  }
  if (sources.digest != sources_digest) {
    sources.rules_id = rules_id;
    sources.sources = grant.sources;
    add(Names, subject, std::move(sources));  // for people: nothing that is enforced waits for them
  }
  return rules_id;
}

void Planner::plan_grant(const CompiledGrant& grant, std::uint32_t slot) {
  const bool loses = touches_loser(grant), in_doubt = loses || unsettled_;
  const std::string subject = grant_subject(grant.key);
  const grantd_slotname name = encode_slot_name(grant);
  const auto named = kernel_.slot_names.find(slot);
  if (named == kernel_.slot_names.end() || !same_bytes(named->second, name))
    add(Fill, subject, operation::PutSlotName{slot, name});

  const auto published = kernel_.published.find(slot);
  if (!grant.quarantine.empty()) {
    if (published != kernel_.published.end()) close(subject, slot);
    return;
  }
  const grantd_policy* current = nullptr;
  if (published != kernel_.published.end())
    if (const auto found = kernel_.policies.find(published->second); found != kernel_.policies.end())
      current = &found->second;

  grantd_policy policy;
  std::memset(&policy, 0, sizeof(policy));
  policy.not_before_ns = grant.not_before;
  policy.not_after_ns = grant.not_after;
  policy.slot = slot;
  policy.end_reason = grant.end_reason;
  policy.identity = number_of({IdentityName::Kind::Grant, grant.key});
  policy.grantor_identity = number_of({IdentityName::Kind::Realm, grant.grantor});
  policy.grantee_identity = number_of({IdentityName::Kind::Realm, grant.grantee});
  for (std::size_t direction = 0; direction < GRANTD_DIRECTIONS; direction++)
    policy.limit[direction] = encode_limit(grant.limit[direction], facts_.cpus);
  policy.rules_id = plan_rules(grant, current, subject);
  // While nothing was in force, nobody noted what realms lost: flows that they began wait for them to speak again.
  // Larger than any before: each step of an epoch takes an id too.
  policy.realm_epoch = never_zero(current ? current->realm_epoch : static_cast<std::uint32_t>(node_.next_policy_id));
  // Also where a plan was cut short that had changed a number, and its rules already.
  const bool renumbered = current && differ_in_identities(policy, *current);
  // Who lost an address is in its rules under another number: flows of the old one are judged by rules that do not name
  // it, and those of everybody else go on. Where numbers repeat, the old one may come to be in the rules again.
  if (current && numbers_repeat_ && (in_doubt || renumbered || names_anew(grant, *current)))
    policy.realm_epoch = never_zero(policy.realm_epoch + 1);
  policy.grant_epoch = current ? current->grant_epoch : 0;
  // Rules whose numbers change in place are those of the policy in force, which flows go on to follow.
  if (current && !in_doubt && same_bytes(*current, policy)) return;

  // A slot that had nothing in force may be another Grant's now: its buckets start anew. A Grant
  // that comes out of quarantine gets a fresh burst too, which its owner may well have.
  if (!current) policy.grant_epoch = node_.next_policy_id ? node_.next_policy_id : 1;
  Narrows narrows = Narrows::No;
  if (current && (in_doubt || renumbered || !opens_as_much(policy, *current, facts_.now)))
    narrows = Narrows::Yes;
  else if (current && policy.rules_id != current->rules_id)
    narrows = Narrows::WhereItsRulesDo;
  publish(subject, slot, policy, narrows, loses ? After::Losses : After::Nothing);
}

}  // namespace grantd
