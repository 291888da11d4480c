// What stands in the maps, without tables and attachments.
#pragma once

#include "agent/plan/kernel_state.h"
#include "maps/kernel/datapath_maps.h"

namespace grantd {

// Policies, rules, endpoints, uplinks, prefixes, names, the node and its limits, and what the datapath
// knows of queues (not their classes), into `state`.
Result<void> read_records(const DatapathMaps& maps, KernelState& state);

}  // namespace grantd
