// Values to the text format of Prometheus. Pure. Each metric is explained in docs/metrics.md.
//
// The number of series is bounded by what the administrator made, whatever guests do: no address, port
// or guest's name is a label. For each Grant and direction at most one series a reason, and only for
// reasons that have occurred.
#pragma once

#include "agent/metrics/agent_status.h"
#include "agent/snapshot/snapshot.h"

#include <string>

namespace grantd {

std::string metrics_text(const Snapshot& snapshot, const AgentStatus& status);

}  // namespace grantd
