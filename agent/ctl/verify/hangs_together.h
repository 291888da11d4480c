// Whether what is pinned hangs together, and stands where it should. Changes nothing.
#pragma once

#include "agent/snapshot/snapshot.h"
#include "maps/kernel/datapath_maps.h"

#include <string>
#include <vector>

namespace grantd {

// One line for each thing that is wrong; empty where nothing is.
Result<std::vector<std::string>> hangs_together(const std::string& pin_root, const DatapathMaps& maps,
                                                const Snapshot& snapshot);

}  // namespace grantd
