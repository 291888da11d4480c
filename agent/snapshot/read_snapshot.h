// From the maps to a Snapshot.
#pragma once

#include "agent/snapshot/snapshot.h"
#include "maps/kernel/datapath_maps.h"

namespace grantd {

// What to read beyond the names, policies and endpoints, which are always read.
struct SnapshotParts {
  bool counters = false;
  bool buckets = false;
  bool flows = false;
  bool fills = false;
};

Clock read_clock();

// Every slot that has a name or a policy is read, and slot 0.
Result<Snapshot> read_snapshot(const DatapathMaps& maps, const SnapshotParts& parts);

}  // namespace grantd
