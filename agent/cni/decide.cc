#include "agent/cni/decide.h"

#include <fnmatch.h>

#include <algorithm>

namespace grantd {

namespace {

// As realm_of_namespace() has it, for the agent: the star stands for one letter at least.
bool matches(const std::string& pattern, const std::string& name) {
  return name.size() >= pattern.size() && fnmatch(pattern.c_str(), name.c_str(), 0) == 0;
}

// By its uid, where the runtime tells it.
bool was_guest(const GuestNamespaces& known, const CniPod& pod) {
  if (!pod.uid.empty()) return known.former_guests.contains(pod.uid);
  return std::ranges::any_of(known.former_guests,
                             [&](const auto& each) { return each.second == pod.namespace_name + "/" + pod.name; });
}

}  // namespace

CniDecision decide(const PluginSettings& settings, const CniPod& pod,
                   const Result<std::optional<GuestNamespaces>>& recorded, bool vouched) {
  using Kind = CniDecision::Kind;
  const std::string& pod_namespace = pod.namespace_name;
  if (pod_namespace.empty()) {
    if (settings.refuse_unknown) return {Kind::Unknown, "the runtime names no namespace (K8S_POD_NAMESPACE)"};
    return {Kind::Ordinary, ""};  // no pod
  }
  const GuestNamespaces none{settings.namespace_pattern, {}, {}};
  const GuestNamespaces& known = recorded && recorded.value() ? *recorded.value() : none;
  if (matches(settings.namespace_pattern, pod_namespace) || matches(known.pattern, pod_namespace) ||
      known.guests.contains(pod_namespace) || was_guest(known, pod))
    return {Kind::Guest, ""};
  if (settings.ordinary.contains(pod_namespace)) return {Kind::Ordinary, ""};
  if (!recorded) return {Kind::Unknown, recorded.error().message};
  if (!settings.refuse_unknown) return {Kind::Ordinary, ""};
  // A namespace may have been made again under its name, as a guest's, since somebody last looked.
  if (!vouched) return {Kind::Unknown, "no agent runs that would know it, and the setting refuseUnknown is on"};
  if (known.ordinary.contains(pod_namespace)) return {Kind::Ordinary, ""};
  return {Kind::Unknown, "the agent has not recorded it, and the setting refuseUnknown is on"};
}

}  // namespace grantd
