// Which namespaces are guests', as the agent has last seen it. The agent is the only writer; grantd-cni reads, also
// when no agent runs.
#pragma once

#include "maps/result.h"

#include <map>
#include <optional>
#include <set>
#include <string>

namespace grantd {

inline constexpr const char* kDefaultNamespacePattern = "guest-*";

struct GuestNamespaces {
  std::string pattern = kDefaultNamespacePattern;  // of the node: fnmatch(3)
  std::set<std::string> guests;                    // carry the label keystone.io/realm
  // Known to be no guests', for a plugin that is told to refuse unknown namespaces. Believed only while an agent
  // runs, which takes them away while it does not hear of namespaces: docs/decisions/0041.
  std::set<std::string> ordinary;
  // By the node's uid of a pod, its namespace and name: it was a guest, and its namespace is no guests' any more. Its
  // next sandbox is a guest's too.
  std::map<std::string, std::string> former_guests = {};
  bool operator==(const GuestNamespaces&) const = default;
};

std::string guest_namespaces_path(const std::string& state_dir);

// Nothing where the agent has not written it yet. A damaged file is an error, which names it and the way out.
Result<std::optional<GuestNamespaces>> read_guest_namespaces(const std::string& state_dir);

// Writes it, in one step, where it says something else or is damaged. The agent calls this when something changes,
// and at each of its regular looks, so that a damaged file does not stay one.
Result<void> keep_guest_namespaces(const std::string& state_dir, const GuestNamespaces& wanted);

// Takes the ordinary ones out of what an agent before this one has left; before this one is one that runs. A damaged
// file is left as it is: it vouches for nobody.
Result<void> disown_ordinary_namespaces(const std::string& state_dir);

}  // namespace grantd
