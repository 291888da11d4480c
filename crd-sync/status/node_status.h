// What one node enforces, as GrantNodeStatus tells it (deploy/crds/grantnodestatuses.yaml).
#pragma once

#include "crd-sync/resources.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

enum class ConditionState : std::uint8_t { False, True, Unknown };

struct Condition {
  std::string type;  // "Accepted", "RealmResolved", "Enforced"
  ConditionState state = ConditionState::Unknown;
  std::string reason;  // CamelCase
  std::string message;
  std::int64_t generation = 0;  // observedGeneration; 0 where unknown
  WallTime since{};             // lastTransitionTime
};

// The policy in force, as read back from the kernel.
struct PolicyStatus {
  std::string phase;
  std::uint64_t egress_bps = 0, ingress_bps = 0;  // 0: unlimited
  std::uint64_t egress_burst_bytes = 0, ingress_burst_bytes = 0;
  std::optional<WallTime> not_before, not_after;
  std::size_t rules = 0;
};

struct GrantStatus {
  std::string key;              // NAMESPACE/NAME
  std::int64_t generation = 0;  // that the policy in force came from; 0 where unknown
  std::uint64_t policy_id = 0;  // as read back; 0: none is in force
  std::size_t endpoints = 0;
  bool enforced = false;
  std::string message;
  std::string advice;  // what to do where it is not enforced; "" where that is told elsewhere. For Events
  std::vector<Condition> conditions;
  std::optional<PolicyStatus> policy;

  const Condition* condition(const std::string& type) const;
};

struct GuestStatus {
  std::string guest;  // NAMESPACE/NAME of a pod
  std::string why;
  std::string advice = "";  // what to do about it. For Events
};

struct NodeStatus {
  std::string node;
  std::string version;              // of the agent
  std::string attach;               // "tcx" or "clsact"
  std::vector<GrantStatus> grants;  // sorted by key
  std::vector<GuestStatus> quarantined, not_enforced;
  std::size_t endpoints = 0;

  const GrantStatus* grant(const std::string& key) const;
};

// A condition whose state is as it was keeps its time; all others begin at `now`.
void keep_transitions(NodeStatus& status, const NodeStatus& before, WallTime now);

}  // namespace grantd
