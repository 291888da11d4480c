#include "agent/compile/compile.h"

#include "agent/compile/endpoints.h"
#include "agent/compile/grants.h"
#include "agent/compile/guests_elsewhere.h"
#include "agent/compile/realm_prefixes.h"
#include "agent/compile/refusal.h"
#include "agent/compile/room.h"
#include "agent/compile/validity.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace grantd {

namespace {

void refuse(const Grant& grant, const TimeFacts& time, Problem wrong, const std::string& why, CompiledPolicy& policy) {
  CompiledGrant times;
  judge_validity(grant, time, times);
  std::string besides;
  if (grant.revoked) besides += "; it is revoked all the same";
  if (grant.made_anew) besides += "; what was in force was another Grant of its name, which was deleted, and has ended";
  wrong.message += besides;
  RefusedGrant refused{grant.key(), why + besides, grant.revoked};
  refused.problem = wrong;
  if (grant.made_anew) {
    refused.not_after = kAtOnce;
    refused.end_reason = GRANTD_REASON_REVOKED;
  } else if (times.quarantine.empty()) {  // by a clock that is trusted
    refused.not_after = times.not_after;
    refused.end_reason = times.end_reason;
  }
  policy.refused.push_back(std::move(refused));
  policy.problems.push_back(std::move(wrong));
}

// Realms that a Grant's rules or parties name, and that are nobody here.
const std::string* realm_without_identity(const CompiledGrant& grant, const std::set<std::string>& without) {
  for (const std::string* party : {&grant.grantor, &grant.grantee})
    if (without.contains(*party)) return party;
  for (const CompiledIdentityRule& rule : grant.identity_rules)
    if (rule.identity.kind == IdentityName::Kind::Realm && without.contains(rule.identity.name))
      return &rule.identity.name;
  return nullptr;
}

// One Grant after the other, in order of their names.
class GrantsCompiler {
 public:
  GrantsCompiler(const DesiredState& desired, const NodeFacts& node, const TimeFacts& time, const Limits& limits,
                 CompiledPolicy& policy)
      : desired_(desired), time_(time), policy_(policy), room_(limits, desired, node.in_force) {
    for (const Realm& realm : desired.realms) realms_.insert(realm.name);
    for (const CompiledEndpoint& each : policy.endpoints)
      if (!each.without_record) with_guests_.insert(each.grant);
  }

  void compile_all() {
    std::vector<const Grant*> in_order;
    for (const Grant& grant : desired_.grants) in_order.push_back(&grant);
    std::sort(in_order.begin(), in_order.end(),
              [](const Grant* one, const Grant* other) { return one->key() < other->key(); });
    for (const Grant* grant : in_order) {
      Problem wrong;
      wrong.position = grant->position;
      wrong.object = "Grant " + grant->key();
      auto compiled = compile_one(*grant, wrong);
      if (compiled) {
        policy_.grants.push_back(std::move(compiled).value());
        continue;
      }
      refuse(*grant, time_, std::move(wrong), compiled.error().message, policy_);
      if (!room_.holds(grant->key())) quarantine(grant->key(), "its Grant is refused", Cause::GrantRefused);
    }
  }

  // With what is left of the limits, in this order. One that this node cannot enforce as it is now goes without a word:
  // there is no guest whom that concerns.
  void compile_without_guests(const std::vector<const Grant*>& grants) {
    for (const Grant* grant : grants) {
      Problem wrong;
      std::vector<Problem> problems;
      auto compiled = compile_grant(*grant, realms_, policy_.protected_ranges, time_, problems, wrong);
      if (!compiled || !compiled.value().quarantine.empty() ||
          realm_without_identity(compiled.value(), room_.realms_without_identity()) ||
          !room_.take_left(compiled.value()))
        continue;
      policy_.grants.push_back(std::move(compiled).value());
      policy_.problems.insert(policy_.problems.end(), problems.begin(), problems.end());
    }
    std::sort(policy_.grants.begin(), policy_.grants.end(),
              [](const CompiledGrant& one, const CompiledGrant& other) { return one.key < other.key; });
  }

  const Room& room() const { return room_; }

 private:
  Result<CompiledGrant> compile_one(const Grant& grant, Problem& wrong) {
    const bool with_guests = with_guests_.contains(grant.key()), held = room_.holds(grant.key());
    // Also where it is refused below: its guests are under what was in force for it.
    if (with_guests && held)
      if (auto table = room_.take_table(grant.key(), wrong); !table) {
        quarantine(grant.key(), "no flow table is left for its Grant", Cause::NoRoom);
        return table.error();
      }
    auto compiled = compile_grant(grant, realms_, policy_.protected_ranges, time_, policy_.problems, wrong);
    if (!compiled) return compiled;
    if (const auto* realm = realm_without_identity(compiled.value(), room_.realms_without_identity()))
      return refusal(wrong, "Realm " + *realm + " has no identity on this node",
                     "fewer Realms, or a higher --max-identities");
    if (auto taken = room_.take(compiled.value(), with_guests && !held, wrong); !taken) return taken.error();
    return compiled;
  }

  void quarantine(const std::string& grant, const char* why, Cause cause) {
    for (CompiledEndpoint& each : policy_.endpoints) {
      if (each.grant != grant) continue;
      each.grant.clear();
      each.quarantine = why;
      each.cause = cause;
    }
  }

  const DesiredState& desired_;
  const TimeFacts& time_;
  CompiledPolicy& policy_;
  std::set<std::string> realms_, with_guests_;
  Room room_;
};

void report_excess(const char* object, const grantd_bound& bound, std::string message, const char* setting,
                   CompiledPolicy& policy) {
  Problem problem;
  problem.object = object;
  problem.value = std::to_string(bound.used + bound.refused);
  problem.message = std::move(message);
  problem.accepted = "at most " + std::to_string(bound.most) + " (" + setting + ")";
  policy.problems.push_back(std::move(problem));
}

// Of many Realms the one that a person looks at first.
void report_prefixes(const DesiredState& desired, std::size_t wanted, std::size_t most, CompiledPolicy& policy) {
  std::string message = "more than this node holds; what was in force stays, nothing is added";
  const auto largest = largest_taker(desired, policy.prefixes);
  if (!largest) {
    report_excess("realms", {most, wanted, 0}, "entries for prefixes are " + message, "--max-realm-prefixes", policy);
    return;
  }
  message = "entries are the most that a Realm takes of " + std::to_string(wanted) + " for prefixes, " + message;
  if (largest->apart > 0)
    message += "; " + std::to_string(largest->apart) +
               " of them set its addresses apart while it is refused: delete it, or mend it and list fewer";
  policy.problems.push_back(
      {Severity::Error, largest->position, largest->object, "spec.addresses", std::to_string(largest->entries),
       std::move(message),
       "at most " + std::to_string(most) + " in all: fewer or wider prefixes, or a higher --max-realm-prefixes"});
}

void compile_prefixes(const DesiredState& desired, std::map<IpAddress, std::string> elsewhere, const NodeFacts& node,
                      const Limits& limits, const Room& room, CompiledPolicy& policy) {
  // Half of the room: how many guests there are is for their owners to say, and Realms are the grantor's.
  const std::size_t crowds =
      leave_out_crowds(limits.prefixes / 2 / kPrefixesOfGuestElsewhere, elsewhere, policy.problems) *
      kPrefixesOfGuestElsewhere;
  policy.prefixes = realm_prefixes(desired, policy.endpoints, elsewhere, node, policy.problems);
  // Nobody's, and not left out: a wider prefix around them is somebody else's.
  for (CompiledPrefix& each : policy.prefixes)
    if (each.identity.kind == IdentityName::Kind::Realm && room.realms_without_identity().contains(each.identity.name))
      each.identity = {};
  const std::size_t wanted = policy.prefixes.size();
  policy.prefixes_refused = wanted > limits.prefixes && wanted > node.in_force.prefixes;
  grantd_bound& bound = policy.bounds[GRANTD_BOUND_REALM_PREFIXES];
  bound = {limits.prefixes, wanted, crowds};
  if (!policy.prefixes_refused) return;
  bound.used = node.in_force.prefixes;
  bound.refused = wanted - bound.used + crowds;
  report_prefixes(desired, wanted, bound.most, policy);
}

// Also of guests whose interface is not there yet.
std::set<std::string> grants_of(const std::vector<Workload>& workloads, const GrantChoice& choice) {
  std::set<std::string> grants;
  for (const Workload& each : workloads)
    if (each.quarantine.empty()) grants.insert(each.pod ? choice.of(*each.pod).key : each.grant);
  grants.erase("");
  return grants;
}

DesiredState limited_to(const std::set<std::string>& grants, const DesiredState& desired) {
  DesiredState limited;
  limited.realms = desired.realms;
  std::copy_if(desired.grants.begin(), desired.grants.end(), std::back_inserter(limited.grants),
               [&](const Grant& each) { return grants.contains(each.key()); });
  return limited;
}

// In force for guests that this node had lately, the latest first: a guest whose own doing takes it out of a Grant and
// back finds the bucket as it left it.
std::vector<const Grant*> lately_with_guests(const DesiredState& desired, const std::set<std::string>& here,
                                             const InForce& in_force, BootNanoseconds now) {
  std::vector<std::pair<BootNanoseconds, const Grant*>> lately;
  for (const Grant& grant : desired.grants) {
    const auto held = in_force.grants.find(grant.key());
    if (held == in_force.grants.end() || !held->second.published || here.contains(held->first)) continue;
    const BootNanoseconds since = held->second.without_guests_since;
    if (now < since || now - since < kKeptWithoutGuests) lately.emplace_back(since, &grant);
  }
  std::stable_sort(lately.begin(), lately.end(),
                   [](const auto& one, const auto& other) { return one.first > other.first; });
  std::vector<const Grant*> grants;
  for (const auto& [since, grant] : lately) grants.push_back(grant);
  return grants;
}

void report_limits(CompiledPolicy& policy) {
  const grantd_bound& endpoints = policy.bounds[GRANTD_BOUND_ENDPOINTS];
  if (endpoints.refused) {
    const auto first = std::find_if(policy.endpoints.begin(), policy.endpoints.end(),
                                    [](const CompiledEndpoint& each) { return each.without_record; });
    const std::string others = std::to_string(endpoints.refused - 1);
    policy.problems.push_back(
        {Severity::Error, first->position, "guest " + first->guest, "", "",
         "has no room on this node and stays closed" +
             (endpoints.refused > 1 ? ", as " + std::string(endpoints.refused > 2 ? "do " : "does ") + others +
                                          (endpoints.refused > 2 ? " others" : " other")
                                    : std::string()),
         "at most " + std::to_string(endpoints.most) + " guests (--max-endpoints)"});
  }
  // A limit that was lowered takes nothing away.
  constexpr const char* kSettings[GRANTD_BOUNDS] = {"--max-grants",         "--max-endpoints",  "--max-rules",
                                                    "--max-realm-prefixes", "--max-identities", "--max-flows"};
  for (std::size_t kind = 0; kind < GRANTD_BOUNDS; kind++) {
    const grantd_bound& bound = policy.bounds[kind];
    if (bound.used > bound.most)
      policy.problems.push_back({Severity::Warning,
                                 {},
                                 kSettings[kind],
                                 "",
                                 std::to_string(bound.most),
                                 std::to_string(bound.used) + " are in use; what is in force stays, nothing new fits",
                                 ""});
  }
}

}  // namespace

CompiledPolicy compile(const DesiredState& desired, const NodeFacts& node, const TimeFacts& time,
                       const Limits& limits) {
  CompiledPolicy policy;
  policy.problems = desired.problems;
  policy.flows_per_table = limits.flows_per_grant;
  policy.protected_ranges = protected_ranges(node);
  const GrantChoice choice(desired.grants, time);
  policy.next_edge = choice.next_edge();
  std::set<std::string> known_grants;
  for (const Grant& grant : desired.grants) known_grants.insert(grant.key());
  policy.endpoints = compile_endpoints(desired.workloads, node, known_grants, choice, policy.unheld, policy.problems);
  std::sort(policy.endpoints.begin(), policy.endpoints.end(),
            [](const CompiledEndpoint& one, const CompiledEndpoint& other) { return one.guest < other.guest; });
  give_records(limits, node, policy.endpoints, policy.bounds[GRANTD_BOUND_ENDPOINTS]);
  const std::set<std::string> here = grants_of(desired.workloads, choice);
  DesiredState needed;
  if (desired.cluster) needed = limited_to(here, desired);
  GrantsCompiler grants(desired.cluster ? needed : desired, node, time, limits, policy);
  grants.compile_all();
  if (desired.cluster) grants.compile_without_guests(lately_with_guests(desired, here, node.in_force, time.boot_now));
  grants.room().tell(policy.bounds);
  if (const auto& without = grants.room().realms_without_identity(); !without.empty())
    report_excess("realms", policy.bounds[GRANTD_BOUND_IDENTITIES],
                  "and Grants are more than this node has identities for; Realm " + *without.begin() +
                      " and new ones after it by name are nobody",
                  "--max-identities", policy);
  policy.uplinks = compile_uplinks(node, policy.endpoints, policy.problems);
  compile_prefixes(desired, guests_elsewhere(desired.elsewhere, choice, here, node, policy.problems), node, limits,
                   grants.room(), policy);
  report_limits(policy);
  return policy;
}

}  // namespace grantd
