#include "agent/status/assess.h"

#include "agent/status/advice.h"
#include "agent/status/gaps.h"
#include "crd-sync/conflicts.h"
#include "crd-sync/problem.h"
#include "maps/fixed_text.h"

#include <algorithm>
#include <set>
#include <utility>

namespace grantd {
namespace {

constexpr std::size_t kMessageBytes = 900;
constexpr std::size_t kGapsTold = 3;

Condition condition(const char* type, bool state, const char* reason, std::string message, std::int64_t generation) {
  return {type,       state ? ConditionState::True : ConditionState::False,
          reason,     escape_text(message, kMessageBytes),
          generation, {}};
}

std::string guests_text(std::size_t count) {
  if (count == 0) return "no guest of it runs here";
  return count == 1 ? "1 guest's interface is held to it"
                    : std::to_string(count) + " guests' interfaces are held to it";
}

// Rounded: the offset between the clocks is never twice the same to the nanosecond.
WallTime wall_of(const Clock& clock, std::uint64_t boot_ns) {
  return std::chrono::round<std::chrono::seconds>(WallTime(std::chrono::nanoseconds(clock.wall_of(boot_ns))));
}

class Assessment {
 public:
  Assessment(const StatusFacts& facts, const NodeStatus& before)
      : facts_(facts), before_(before), gaps_(gaps_of(facts.missing)) {
    for (const auto& [slot, name] : facts.snapshot.slot_names) slots_[text_of(name.grant)] = slot;
    for (const Grant& each : facts.desired.grants) standing_[each.key()] = &each;
    for (const CompiledGrant& each : facts.compiled.grants) compiled_[each.key] = &each;
    for (const RefusedGrant& each : facts.compiled.refused) refused_[each.key] = &each;
    for (const CompiledEndpoint& each : facts.compiled.endpoints)
      if (!each.grant.empty()) guests_[each.grant].push_back(&each);
    for (const CompiledPrefix& each : facts.compiled.prefixes)
      if (each.identity.kind == IdentityName::Kind::Realm) believed_.insert(each.identity.name);
    for (const Problem& each : facts.desired.problems)
      if (each.severity == Severity::Error && each.object.starts_with("Grant ")) errors_.emplace(each.object, &each);
    // With those of the desired state.
    for (const Problem& each : facts.compiled.problems)
      if (each.severity == Severity::Warning)
        for (const std::string* object : {&each.object, &each.also})
          if (object->starts_with("Grant ") || object->starts_with("Realm ")) warnings_[*object].push_back(&each);
  }

  NodeStatus run() {
    NodeStatus status;
    status.node = facts_.node;
    status.version = facts_.version;
    status.attach = facts_.attach;
    for (const std::string& key : keys()) status.grants.push_back(assess(key));
    assess_guests(status);
    return status;
  }

 private:
  std::set<std::string> keys() const {
    std::set<std::string> keys;
    for (const auto& [key, grant] : compiled_) keys.insert(key);
    for (const auto& [key, grant] : refused_) keys.insert(key);
    for (const auto& [key, head] : facts_.desired.grant_heads)
      if (errors_.contains("Grant " + key)) keys.insert(key);
    // Of Grants that are gone those that are in force still.
    for (const auto& [key, slot] : slots_)
      if (facts_.snapshot.published.contains(slot)) keys.insert(key);
    return keys;
  }

  GrantStatus assess(const std::string& key) {
    GrantStatus grant;
    grant.key = key;
    if (const auto guests = guests_.find(key); guests != guests_.end()) grant.endpoints = guests->second.size();
    if (const auto slot = slots_.find(key); slot != slots_.end()) read_policy(slot->second, grant);
    const std::vector<Gap> gaps = gaps_of_grant(key);
    grant.generation = generation_in_force(grant, gaps);
    grant.conditions = {accepted(grant), realm_resolved(key), enforced(grant, gaps)};
    grant.enforced = grant.conditions[2].state == ConditionState::True;
    if (!grant.enforced) grant.advice = advice_of_grant(grant, gaps);
    const auto wrong = std::find_if(grant.conditions.begin(), grant.conditions.end(),
                                    [](const Condition& each) { return each.state == ConditionState::False; });
    grant.message = wrong != grant.conditions.end() ? wrong->message : grant.conditions[2].message;
    return grant;
  }

  void read_policy(std::uint32_t slot, GrantStatus& grant) const {
    const grantd_policy* policy = policy_in_force(facts_.snapshot, slot);
    if (policy == nullptr) return;
    grant.policy_id = facts_.snapshot.published.at(slot);
    PolicyStatus& told = grant.policy.emplace();
    told.phase = phase_name(phase_now(facts_.snapshot, slot, facts_.snapshot.slot_names.at(slot)));
    const grantd_limit &egress = policy->limit[GRANTD_EGRESS], &ingress = policy->limit[GRANTD_INGRESS];
    told.egress_bps = egress.rate_bps;
    told.egress_burst_bytes = egress.burst_bytes;
    told.ingress_bps = ingress.rate_bps;
    told.ingress_burst_bytes = ingress.burst_bytes;
    if (policy->not_before_ns > 1) told.not_before = wall_of(facts_.snapshot.clock, policy->not_before_ns);
    // 1 stands for "at once".
    if (policy->not_after_ns > 1 && policy->not_after_ns != GRANTD_TIME_NEVER)
      told.not_after = wall_of(facts_.snapshot.clock, policy->not_after_ns);
    if (const auto rules = facts_.rule_sets.find(policy->rules_id); rules != facts_.rule_sets.end())
      told.rules = rules->second.rules.size() + rules->second.identity_rules.size();
  }

  std::vector<Gap> gaps_of_grant(const std::string& key) const {
    std::vector<Gap> all = gaps_.of_node;
    const auto take = [&all](const auto& map, const auto& of) {
      if (const auto found = map.find(of); found != map.end())
        all.insert(all.end(), found->second.begin(), found->second.end());
    };
    take(gaps_.by_subject, grant_subject(key));
    if (const auto slot = slots_.find(key); slot != slots_.end()) take(gaps_.by_slot, slot->second);
    static const std::vector<const CompiledEndpoint*> kNone;
    const auto found = guests_.find(key);
    const auto& guests = found == guests_.end() ? kNone : found->second;
    std::size_t waiting = 0;
    for (const CompiledEndpoint* guest : guests)
      if (waits(*guest))
        waiting++;
      else
        take(gaps_.by_subject, guest_subject(guest->guest));
    if (waiting > 0)
      all.push_back({GapKind::GuestsWait, std::to_string(waiting) + " of its " + std::to_string(guests.size()) +
                                              " guests' interfaces wait for their turn to be attached"});
    // Last: it concerns those guests alone that may configure their network.
    if (!facts_.gate_missing.empty() && !guests.empty())
      all.push_back(
          {GapKind::GateMissing, "what a guest sends past the programs may not be dropped: " + facts_.gate_missing});
    return all;
  }

  // Where it has a record its programs were there, and somebody got before them.
  bool waits(const CompiledEndpoint& guest) const {
    return facts_.waiting.contains(guest_subject(guest.guest)) && !facts_.snapshot.endpoints.contains(guest.ifindex);
  }

  // The newest version that is known, be it refused.
  std::int64_t newest(const std::string& key) const {
    const auto head = facts_.desired.grant_heads.find(key);
    return head == facts_.desired.grant_heads.end() ? 0 : head->second.generation;
  }

  std::int64_t generation_in_force(const GrantStatus& grant, const std::vector<Gap>& gaps) const {
    if (grant.policy_id == 0) return 0;
    const bool other =
        std::any_of(gaps.begin(), gaps.end(), [](const Gap& gap) { return gap.kind == GapKind::PolicyDiffers; });
    const auto standing = standing_.find(grant.key);
    if (!other && compiled_.contains(grant.key) && standing != standing_.end())
      return standing->second->head.generation;
    const GrantStatus* told = before_.grant(grant.key);
    return told != nullptr && told->policy_id == grant.policy_id ? told->generation : 0;
  }

  const Problem* error_of(const std::string& key) const {
    const auto found = errors_.find("Grant " + key);
    return found == errors_.end() ? nullptr : found->second;
  }

  // Why the newest version is refused; "" where it is not.
  std::string refusal(const std::string& key) const {
    if (const auto refused = refused_.find(key); refused != refused_.end()) return refused->second->why;
    const Problem* error = error_of(key);
    return error != nullptr ? problem_text(*error) : "";
  }

  // Without the object: who shows it knows which one.
  static std::string problem_text(const Problem& problem) {
    std::string text = problem.field;
    if (!problem.value.empty()) text += (text.empty() ? "" : ": ") + problem.value;
    text += (text.empty() ? "" : ": ") + problem.message;
    return problem.accepted.empty() ? text : text + "; accepted: " + problem.accepted;
  }

  struct Warnings {
    const Problem* first = nullptr;
    std::size_t count = 0;
  };

  // Of the Grant and of the Realms of its parties, its own first. A Realm may have one for each that lies in it, so
  // only the shorter list is gone through: what both have counts once.
  Warnings warnings_about(const std::string& key) const {
    Warnings about;
    const auto list_of = [&](const std::string& object) -> const std::vector<const Problem*>& {
      static const std::vector<const Problem*> kNone;
      const auto found = warnings_.find(object);
      return found == warnings_.end() ? kNone : found->second;
    };
    const auto add = [&](const std::vector<const Problem*>& list) {
      if (!about.first && !list.empty()) about.first = list[0];
      about.count += list.size();
    };
    add(list_of("Grant " + key));
    const auto grant = standing_.find(key);
    if (grant == standing_.end()) return about;
    const std::string grantee = "Realm " + grant->second->grantee_realm,
                      grantor = "Realm " + grant->second->grantor_realm;
    add(list_of(grantee));
    if (grantor == grantee) return about;
    add(list_of(grantor));
    const bool shorter = list_of(grantee).size() <= list_of(grantor).size();
    const std::string& other = shorter ? grantor : grantee;
    for (const Problem* each : list_of(shorter ? grantee : grantor))
      if (each->object == other || each->also == other) --about.count;
    return about;
  }

  // By what a refused version says of its end, or by time.
  static bool has_ended(const GrantStatus& grant) {
    return grant.policy && (grant.policy->phase == phase_name(GRANTD_PHASE_REVOKED) ||
                            grant.policy->phase == phase_name(GRANTD_PHASE_EXPIRED));
  }

  Condition accepted(const GrantStatus& grant) const {
    const std::string why = refusal(grant.key);
    const std::int64_t generation = newest(grant.key);
    if (!why.empty()) {
      const char* rest = !grant.policy_id   ? "; nothing of it is in force"
                         : has_ended(grant) ? "; what was in force before has ended"
                                            : "; what was in force before stays";
      return condition("Accepted", false, "Refused", why + rest, generation);
    }
    if (!compiled_.contains(grant.key)) return condition("Accepted", false, "Gone", "the Grant is gone", generation);
    const auto warnings = warnings_about(grant.key);
    if (!warnings.first) return condition("Accepted", true, "Accepted", "this node can enforce it", generation);
    const Problem& first = *warnings.first;
    std::string text = "this node can enforce it, but ";
    if (first.object != "Grant " + grant.key) text += first.object + ": ";
    text += problem_text(first);
    if (warnings.count > 1) text += "; and " + std::to_string(warnings.count - 1) + " more, which the log has";
    return condition("Accepted", true, "AcceptedWithWarnings", std::move(text), generation);
  }

  Condition realm_resolved(const std::string& key) const {
    constexpr const char* kType = "RealmResolved";
    if (const Problem* error = error_of(key); error != nullptr && error->message == kNoSuchRealm)
      return condition(kType, false, "RealmMissing", error->field + ": " + error->value + ": " + error->message,
                       newest(key));
    const auto found = standing_.find(key);
    if (found == standing_.end()) {
      Condition unknown = condition(kType, false, "NotAccepted", "no version of the Grant is accepted", newest(key));
      unknown.state = ConditionState::Unknown;
      return unknown;
    }
    const Grant& grant = *found->second;
    if (!believed_.contains(grant.grantee_realm))
      return condition(kType, false, "NoAddresses",
                       "Realm " + grant.grantee_realm +
                           " has no address that this node believes, so nobody is known as "
                           "the grantee; give it spec.addresses",
                       grant.head.generation);
    if (!believed_.contains(grant.grantor_realm))
      return condition(kType, true, "Resolved",
                       "Realm " + grant.grantor_realm +
                           " has no address that this node believes: of the grantor only the node itself is known",
                       grant.head.generation);
    return condition(kType, true, "Resolved", "the addresses of both Realms are known", grant.head.generation);
  }

  Condition enforced(const GrantStatus& grant, const std::vector<Gap>& gaps) const {
    const auto is = [&](bool state, const char* reason, std::string message) {
      return condition("Enforced", state, reason, std::move(message), grant.generation);
    };
    const bool wrong = !refusal(grant.key).empty();
    const auto compiled = compiled_.find(grant.key);
    if (wrong && grant.policy_id == 0)
      return is(false, "Refused", "the Grant is refused; its guests are in quarantine: nothing passes, in or out");
    if (!wrong && compiled == compiled_.end())
      return is(false, "StillInForce",
                "the Grant is gone, and its policy " + std::to_string(grant.policy_id) + " is still in force");
    if (compiled != compiled_.end() && !compiled->second->quarantine.empty())
      return is(false, "Quarantined", compiled->second->quarantine + "; its guests are in quarantine");
    if (!gaps.empty()) return is(false, gap_name(gaps[0].kind), text_of_gaps(gaps));
    if (grant.policy_id == 0) return is(false, "NoPolicy", "no policy of it is in force; its guests are in quarantine");
    if (wrong && has_ended(grant))
      return is(false, "OlderEnded",
                "policy " + std::to_string(grant.policy_id) +
                    " of an older version has ended, and the newest one is refused: nothing passes, in or out");
    if (wrong)
      return is(false, "OlderInForce",
                "policy " + std::to_string(grant.policy_id) + " of an older version stays in force; " +
                    guests_text(grant.endpoints));
    if (const auto guests = guests_.find(grant.key); guests != guests_.end())
      for (const CompiledEndpoint* guest : guests->second)
        if (guest->host_network)
          return is(
              false, "HostNetwork",
              "guest " + guest->guest + " runs on the host's network, where it cannot be held; remove hostNetwork");
    for (const UnheldGuest& guest : facts_.compiled.unheld)
      if (guest.grant == grant.key) return is(false, "NotHeld", "guest " + guest.guest + " " + guest.why);
    return is(true, "InForce",
              "policy " + std::to_string(grant.policy_id) + " is in force; " + guests_text(grant.endpoints));
  }

  // "" where its Event GrantRefused says it, or those on its guests.
  std::string advice_of_grant(const GrantStatus& grant, const std::vector<Gap>& gaps) const {
    if (!refusal(grant.key).empty()) return "";
    const auto compiled = compiled_.find(grant.key);
    if (compiled == compiled_.end()) return advice(GapKind::StillInForce);
    if (!compiled->second->quarantine.empty()) return advice(compiled->second->cause);
    if (!gaps.empty()) return advice(gaps[0].kind);
    return grant.policy_id == 0 ? advice(Cause::NotInForce) : "";
  }

  static std::string text_of_gaps(const std::vector<Gap>& gaps) {
    std::string text;
    for (std::size_t index = 0; index < std::min(gaps.size(), kGapsTold); ++index)
      text += (text.empty() ? "" : "; ") + gaps[index].text;
    if (gaps.size() > kGapsTold) text += "; and " + std::to_string(gaps.size() - kGapsTold) + " more";
    return text;
  }

  void assess_guests(NodeStatus& status) const {
    for (const UnheldGuest& guest : facts_.compiled.unheld)
      status.not_enforced.push_back({guest.guest, guest.why, advice(guest.cause)});
    for (const CompiledEndpoint& guest : facts_.compiled.endpoints) {
      ++status.endpoints;
      if (guest.host_network) {
        status.not_enforced.push_back(
            {guest.guest, "runs on the host's network, where it cannot be held", advice(Cause::HostNetwork)});
        continue;
      }
      const auto record = facts_.snapshot.endpoints.find(guest.ifindex);
      if (record != facts_.snapshot.endpoints.end() && record->second.slot != 0 &&
          facts_.snapshot.published.contains(record->second.slot))
        continue;
      const auto [why, cause] = why_quarantined(guest);
      status.quarantined.push_back({guest.guest, escape_text(why, kMessageBytes), advice(cause)});
    }
  }

  std::pair<std::string, Cause> why_quarantined(const CompiledEndpoint& guest) const {
    if (!guest.quarantine.empty()) return {guest.quarantine, guest.cause};
    if (guest.without_record) return {"there is no room for it on this node", Cause::NoRoom};
    if (const auto compiled = compiled_.find(guest.grant);
        compiled != compiled_.end() && !compiled->second->quarantine.empty())
      return {compiled->second->quarantine, compiled->second->cause};
    const std::string why = refusal(guest.grant);
    if (why.empty()) return {"Grant " + guest.grant + " has no policy in force", Cause::NotInForce};
    return {"Grant " + guest.grant + " is refused: " + why, Cause::GrantRefused};
  }

  const StatusFacts& facts_;
  const NodeStatus& before_;
  const Gaps gaps_;
  std::map<std::string, std::uint32_t> slots_;
  std::map<std::string, const Grant*> standing_;
  std::map<std::string, const CompiledGrant*> compiled_;
  std::map<std::string, const RefusedGrant*> refused_;
  std::map<std::string, std::vector<const CompiledEndpoint*>> guests_;
  std::set<std::string> believed_;                // Realms
  std::map<std::string, const Problem*> errors_;  // by object, the first one of each
  std::map<std::string, std::vector<const Problem*>> warnings_;
};

}  // namespace

NodeStatus assess(const StatusFacts& facts, const NodeStatus& before) { return Assessment(facts, before).run(); }

bool has_broken(const NodeStatus& status, const NodeStatus& before) {
  return std::any_of(status.grants.begin(), status.grants.end(), [&before](const GrantStatus& each) {
    const GrantStatus* known = before.grant(each.key);
    return !each.enforced && known != nullptr && known->enforced;
  });
}

}  // namespace grantd
