// Guests and uplinks by the names that people use. Pure.
#pragma once

#include "agent/ctl/explain/question.h"
#include "agent/snapshot/snapshot.h"

#include <string>
#include <vector>

namespace grantd {

// An end with all that a frame needs. A guest where endpoint is set.
struct ResolvedEnd {
  std::string guest;
  const grantd_endpoint* endpoint = nullptr;  // in the snapshot
  IpAddress address;
};

struct ResolvedEnds {
  ResolvedEnd source, destination;
};

// Addresses that belong to a guest of this node stand for that guest. A guest's address is its first
// one of the other end's family.
Result<ResolvedEnds> resolve_ends(const Snapshot& snapshot, const End& source, const End& destination);

}  // namespace grantd
