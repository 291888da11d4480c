// From what should be and what the kernel has to the status of this node. Pure.
#pragma once

#include "agent/plan/plan.h"
#include "agent/snapshot/snapshot.h"
#include "crd-sync/status/event_sender.h"
#include "crd-sync/status/node_status.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

struct StatusFacts {
  const DesiredState& desired;
  const CompiledPolicy& compiled;
  const Snapshot& snapshot;  // as read back from the kernel
  const std::map<std::uint32_t, RuleSet>& rule_sets;
  const Plan& missing;  // what plan() would do to what was read back
  std::string node, version, attach;
  std::string gate_missing = "";       // why it is; "" where it stands
  std::set<std::string> waiting = {};  // subjects of guests that `missing` has since their turn has not come
};

// A Grant that nobody refused and that has nothing on this node is none of this node's: all others are told of.
// `before`: what was told last. Where a newer version is refused, it knows which one the policy in force came from.
NodeStatus assess(const StatusFacts& facts, const NodeStatus& before);

// Whether a Grant that was enforced is so no longer.
bool has_broken(const NodeStatus& status, const NodeStatus& before);

// What of it people should be told by Events.
std::vector<Occasion> occasions(const StatusFacts& facts, const NodeStatus& status);

}  // namespace grantd
