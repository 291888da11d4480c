// What the gate behind the programs (decision 69) has dropped of each Grant's guests.
#pragma once

#include "agent/ctl/view/views.h"
#include "agent/snapshot/snapshot.h"
#include "maps/result.h"

#include <string>
#include <vector>

namespace grantd {

// Needs no agent. Since the gate was made anew last, of the guests that are there, under the Grants that they have now;
// of the caller's network namespace.
Result<std::vector<GateDrop>> read_gate_drops(const std::string& pin_root, const Snapshot& snapshot);

}  // namespace grantd
