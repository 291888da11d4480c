#include "agent/status/assess.h"

#include "crd-sync/problem.h"
#include "crd-sync/time_text.h"

#include <chrono>

namespace grantd {
namespace {

using std::chrono::hours;

// An Event has 1,000 bytes, and what to do comes last.
constexpr std::size_t kWhyBytes = 600;

EventObject object_of(const std::string& key, const std::string& uid, const char* api_version, const char* kind) {
  const std::size_t slash = key.find('/');
  return {api_version, kind, key.substr(0, slash), key.substr(slash + 1), uid};
}

}  // namespace

std::vector<Occasion> occasions(const StatusFacts& facts, const NodeStatus& status) {
  std::vector<Occasion> all;
  std::map<std::string, std::string> pods;  // guest -> uid
  for (const Workload& each : facts.desired.workloads)
    if (each.pod) pods[each.name] = each.pod->uid;
  const auto about_guest = [&](const GuestStatus& guest, const char* reason, const std::string& text) {
    const auto pod = pods.find(guest.guest);
    if (pod == pods.end()) return;
    all.push_back({object_of(guest.guest, pod->second, "v1", "Pod"), reason, "", guest.why,
                   text + cut_text(guest.why, kWhyBytes) + ". " + guest.advice + "."});
  };
  for (const GuestStatus& guest : status.quarantined)
    about_guest(guest, "Quarantined", "In quarantine: no packet passes, in or out: ");
  for (const GuestStatus& guest : status.not_enforced) about_guest(guest, "NotEnforced", "Not enforced: the guest ");

  const WallTime now{std::chrono::nanoseconds(facts.snapshot.clock.wall_ns)};
  std::map<std::string, const CompiledGrant*> compiled;
  for (const CompiledGrant& each : facts.compiled.grants) compiled[each.key] = &each;
  for (const GrantStatus& grant : status.grants) {
    const auto head = facts.desired.grant_heads.find(grant.key);
    if (head == facts.desired.grant_heads.end() || head->second.uid.empty()) continue;
    const EventObject about = object_of(grant.key, head->second.uid, "keystone.io/v1alpha1", "Grant");
    const Condition *accepted = grant.condition("Accepted"), *enforced = grant.condition("Enforced");
    if (accepted->state == ConditionState::False)
      all.push_back({about, "GrantRefused", "", accepted->message,
                     "Refused on node " + status.node + ": " + accepted->message + "."});
    if (enforced->state == ConditionState::False && !grant.advice.empty())
      all.push_back({about, "NotEnforced", "", enforced->reason,
                     "Not enforced on node " + status.node + " (" + enforced->reason +
                         "): " + cut_text(enforced->message, kWhyBytes) + ". " + grant.advice + "."});
    const auto wanted = compiled.find(grant.key);
    if (wanted == compiled.end() || grant.endpoints == 0) continue;
    const auto& until = wanted->second->valid_until;
    if (wanted->second->phase == GRANTD_PHASE_ACTIVE && until && now < *until && *until - now < hours(24))
      all.push_back({about, "GrantExpiresSoon", "", time_text(*until),
                     "Ends at " + time_text(*until) + ", in less than a day, for " + std::to_string(grant.endpoints) +
                         " guests on node " + status.node +
                         ", live connections included. Set a later "
                         "spec.validity.validUntil if it is to go on."});
  }
  return all;
}

}  // namespace grantd
