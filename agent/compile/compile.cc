#include "agent/compile/compile.h"

#include "agent/compile/endpoints.h"
#include "agent/compile/grants.h"
#include "agent/compile/realm_prefixes.h"

#include <algorithm>

namespace grantd {

namespace {

// What of the limits is left while Grants are taken in order of their names.
class Room {
 public:
  Room(const Limits& limits, std::size_t realms)
      : grants_(limits.grants),
        rules_(limits.rules),
        identities_(limits.identities > realms + GRANTD_IDENTITY_FIRST
                        ? limits.identities - realms - GRANTD_IDENTITY_FIRST
                        : 0) {}

  Result<void> take(const CompiledGrant& grant) {
    const std::size_t rules = grant.rules.size() + grant.identity_rules.size();
    if (grants_ == 0) return Error{"no room for another Grant on this node; accepted: fewer Grants, or a higher limit", 0};
    if (identities_ == 0)
      return Error{"no identity is left for another Grant on this node; accepted: fewer Realms and Grants", 0};
    if (rules > rules_)
      return Error{"needs " + std::to_string(rules) + " rules, and " + std::to_string(rules_) +
                       " are left on this node; accepted: fewer destinations, or a higher limit",
                   0};
    grants_--;
    identities_--;
    rules_ -= rules;
    return {};
  }

 private:
  std::size_t grants_, rules_, identities_;
};

void refuse(const Grant& grant, const std::string& why, CompiledPolicy& policy) {
  policy.refused.push_back({grant.key(), why});
  Problem problem;
  problem.position = grant.position;
  problem.object = "Grant " + grant.key();
  problem.message = why;
  policy.problems.push_back(std::move(problem));
}

void compile_grants(const DesiredState& desired, const NodeFacts& node, const TimeFacts& time, const Limits& limits,
                    CompiledPolicy& policy) {
  std::set<std::string> realms;
  for (const Realm& realm : desired.realms) realms.insert(realm.name);
  const auto protected_prefixes = protected_ranges(node);
  Room room(limits, realms.size());
  for (const Grant& grant : desired.grants) {
    auto compiled = compile_grant(grant, realms, protected_prefixes, time, policy.problems);
    if (!compiled) {
      refuse(grant, compiled.error().message, policy);
      continue;
    }
    auto fits = room.take(compiled.value());
    if (!fits) {
      refuse(grant, fits.error().message, policy);
      continue;
    }
    policy.grants.push_back(std::move(compiled).value());
  }
}

void report_excess(const char* object, std::size_t count, const char* message, std::size_t limit,
                   CompiledPolicy& policy) {
  Problem problem;
  problem.object = object;
  problem.value = std::to_string(count);
  problem.message = message;
  problem.accepted = "at most " + std::to_string(limit);
  policy.problems.push_back(std::move(problem));
}

}  // namespace

CompiledPolicy compile(const DesiredState& desired, const NodeFacts& node, const TimeFacts& time,
                       const Limits& limits) {
  CompiledPolicy policy;
  policy.problems = desired.problems;
  compile_grants(desired, node, time, limits, policy);
  std::set<std::string> known_grants;
  for (const CompiledGrant& grant : policy.grants) known_grants.insert(grant.key);
  for (const RefusedGrant& grant : policy.refused) known_grants.insert(grant.key);
  policy.endpoints = compile_endpoints(desired.workloads, node, known_grants, policy.problems);
  if (policy.endpoints.size() > limits.endpoints)
    report_excess("workloads", policy.endpoints.size(),
                  "are more than this node holds; those that come last by name stay closed", limits.endpoints, policy);
  for (std::size_t index = limits.endpoints; index < policy.endpoints.size(); index++)
    policy.endpoints[index].without_record = true;
  policy.uplinks = compile_uplinks(node, policy.endpoints, policy.problems);
  policy.prefixes = realm_prefixes(desired.realms, policy.endpoints, node, policy.problems);
  policy.prefixes_refused = policy.prefixes.size() > limits.prefixes;
  if (policy.prefixes_refused)
    report_excess("realms", policy.prefixes.size(),
                  "addresses are more than this node holds; those that were in force stay", limits.prefixes, policy);
  return policy;
}

}  // namespace grantd
