// Whether a pod is a guest's, from what the runtime says of it and what the agent has recorded. Pure.
#pragma once

#include "agent/cni/request.h"
#include "agent/handover/guest_namespaces.h"

#include <optional>
#include <string>

namespace grantd {

struct CniDecision {
  enum class Kind {
    Guest,     // to be closed
    Ordinary,  // none of our business
    Unknown,   // cannot be told, and must not start until it can
  } kind = Kind::Ordinary;
  std::string why;  // of Unknown
};

// "" of what the runtime does not tell.
struct CniPod {
  std::string namespace_name;
  std::string name = {}, uid = {};
};

// `recorded` as read_guest_namespaces() returned it; `vouched`: an agent runs that keeps it up to date. Where it is
// damaged, namespaces that match the pattern are guests', those that the settings call ordinary are ordinary, and all
// others are unknown: one of them may be a guest's. That lasts until an agent runs, which writes the file anew.
CniDecision decide(const PluginSettings& settings, const CniPod& pod,
                   const Result<std::optional<GuestNamespaces>>& recorded, bool vouched);

}  // namespace grantd
