// What of the node's limits is left. What is in force keeps its room, whatever is new and however
// the names sort: a Grant more refuses that one, never another; and a Grant that takes no more than it
// holds always fits, so that no limit stands between an owner and a revocation.
#pragma once

#include "agent/compile/node_facts.h"
#include "maps/result.h"

#include <set>
#include <string>
#include <vector>

namespace grantd {

// Rules of both kinds, and no fewer than destinations.
std::size_t room_for_rules(std::size_t rules, std::size_t identity_rules, std::size_t destinations);

class Room {
 public:
  Room(const Limits& limits, const DesiredState& desired, const InForce& in_force);

  // Whether something is in force for this Grant, and so keeps its room.
  bool holds(const std::string& grant) const { return in_force_.grants.contains(grant); }
  // Room for the Grant's flow table, where it has none yet. `wrong`, here and below: as of refusal().
  Result<void> take_table(const std::string& grant, Problem& wrong);
  // All that the Grant needs, its flow table among it where that is asked for, or nothing.
  Result<void> take(const CompiledGrant& grant, bool with_table, Problem& wrong);
  // The same for one without guests, for which no room was kept: what it needs and its table, where both are left.
  bool take_left(const CompiledGrant& grant);

  // Of Grants, rules, identities and flows; the others are left as they are.
  void tell(Bounds& bounds) const;
  // Realms for which no identity is left. They are nobody on this node.
  const std::set<std::string>& realms_without_identity() const { return without_identity_; }

 private:
  HeldRoom held_by(const std::string& grant) const;

  const Limits& limits_;
  const InForce& in_force_;
  std::size_t grants_ = 0, rules_ = 0, flows_ = 0;
  std::size_t identities_ = 1;  // this node's own
  std::size_t refused_[GRANTD_BOUNDS] = {};
  std::set<std::string> without_identity_;
};

// Leaves those without a record for which there is no room. Endpoints stand in the order of their names.
void give_records(const Limits& limits, const NodeFacts& node, std::vector<CompiledEndpoint>& endpoints,
                  grantd_bound& bound);

}  // namespace grantd
