#include "agent/compile/choose_grant.h"

#include "agent/compile/validity.h"
#include "crd-sync/names.h"
#include "crd-sync/problem.h"
#include "crd-sync/read_object.h"

#include <algorithm>

namespace grantd {

namespace {

constexpr std::size_t kNamesShown = 3;
constexpr std::size_t kNameBytes = 63;  // of a label's value

bool admits(const Grant& grant, const GuestPod& pod) {
  return selects(grant.namespace_selector, pod.namespace_labels) && selects(grant.pod_selector, pod.labels);
}

// The one that a label names, whoever wrote it.
ChosenGrant named(const std::string& whose, const std::string& name, Cause why_not, const std::string& realm,
                  const std::string& key) {
  if (why_not == Cause::None) return {key, ""};
  const std::string which = why_not == Cause::GrantNotOfRealm    ? "is no Grant of realm " + realm
                            : why_not == Cause::GrantLeavesItOut ? "leaves this pod out by its selector"
                                                                 : "is not active";
  return {"", whose + " label names " + escape_text(name, kNameBytes) + ", which " + which, why_not};
}

}  // namespace

GrantChoice::GrantChoice(const std::vector<Grant>& grants, const TimeFacts& time) {
  for (const Grant& grant : grants) {
    CompiledGrant judged;
    (void)judge_validity(grant, time, judged);
    const bool active = judged.not_before <= time.boot_now && time.boot_now < judged.not_after;
    by_realm_[grant.grantee_realm].push_back({&grant, active});
    for (const BootNanoseconds edge : {judged.not_before, judged.not_after})
      if (edge > time.boot_now) next_edge_ = std::min(next_edge_, edge);
  }
}

ChosenGrant GrantChoice::of(const GuestPod& pod) const {
  const auto found = by_realm_.find(pod.realm);
  if (found == by_realm_.end()) return {"", "realm " + pod.realm + " has no Grant", Cause::NoGrant};
  const auto why_not = [&](const std::string& key, bool must_be_active) {
    const auto one = std::find_if(found->second.begin(), found->second.end(),
                                  [&](const Candidate& each) { return each.grant->key() == key; });
    if (one == found->second.end()) return Cause::GrantNotOfRealm;
    if (!admits(*one->grant, pod)) return Cause::GrantLeavesItOut;
    return must_be_active && !one->active ? Cause::GrantNotActive : Cause::None;
  };
  if (!pod.namespace_grant.empty()) {
    const std::string key = std::string(kDefaultNamespace) + "/" + pod.namespace_grant;
    return named("its namespace's", pod.namespace_grant, why_not(key, false), pod.realm, key);
  }
  if (!pod.own_grant.empty()) {
    const std::string key = std::string(kDefaultNamespace) + "/" + pod.own_grant;
    return named("its own", pod.own_grant, why_not(key, true), pod.realm, key);
  }
  return the_only_one(pod, found->second);
}

ChosenGrant GrantChoice::the_only_one(const GuestPod& pod, const std::vector<Candidate>& candidates) {
  std::vector<const Grant*> active, all;
  for (const Candidate& each : candidates) {
    if (!admits(*each.grant, pod)) continue;
    all.push_back(each.grant);
    if (each.active) active.push_back(each.grant);
  }
  if (all.empty())
    return {"", "no selector of the Grants of realm " + pod.realm + " chooses it", Cause::GrantLeavesItOut};
  if (active.size() == 1) return {active.front()->key(), ""};
  if (active.empty() && all.size() == 1) return {all.front()->key(), ""};
  if (active.empty()) return {"", "no Grant of realm " + pod.realm + " is active", Cause::GrantNotActive};
  std::string why = "label it with one of " + std::to_string(active.size()) + " active Grants:";
  for (std::size_t index = 0; index < std::min(active.size(), kNamesShown); index++)
    why += (index > 0 ? ", " : " ") + active[index]->name;
  return {"", why + (active.size() > kNamesShown ? ", ..." : ""), Cause::SeveralGrants};
}

}  // namespace grantd
