#include "crd-sync/status/node_status.h"

#include <algorithm>

namespace grantd {

const Condition* GrantStatus::condition(const std::string& type) const {
  const auto found =
      std::find_if(conditions.begin(), conditions.end(), [&type](const Condition& each) { return each.type == type; });
  return found == conditions.end() ? nullptr : &*found;
}

const GrantStatus* NodeStatus::grant(const std::string& key) const {
  const auto found =
      std::lower_bound(grants.begin(), grants.end(), key,
                       [](const GrantStatus& each, const std::string& wanted) { return each.key < wanted; });
  return found == grants.end() || found->key != key ? nullptr : &*found;
}

void keep_transitions(NodeStatus& status, const NodeStatus& before, WallTime now) {
  for (GrantStatus& grant : status.grants) {
    const GrantStatus* known = before.grant(grant.key);
    for (Condition& each : grant.conditions) {
      const Condition* was = known != nullptr ? known->condition(each.type) : nullptr;
      each.since = was != nullptr && was->state == each.state && was->since != WallTime{} ? was->since : now;
    }
  }
}

}  // namespace grantd
