// Asks a dry run of the datapath what would become of a packet, hook by hook.
#pragma once

#include "agent/ctl/explain/dry_run.h"
#include "agent/ctl/explain/ends.h"
#include "agent/ctl/explain/question.h"
#include "agent/ctl/view/explanation.h"
#include "maps/kernel/datapath_maps.h"

#include <string>
#include <vector>

namespace grantd {

// How a packet from an address comes in.
struct Via {
  bool local = false;  // it originates on this node
  std::string uplink;  // a class or an interface; "": each class that there is, one after the other
};

// Whether the words fit together and name ways that there are: what is wrong here is wrong usage.
Result<void> check_usage(const ResolvedEnds& ends, const Via& via, const Snapshot& snapshot);

// One entry for each packet and way; of what check_usage lets pass. Fails where it cannot tell.
Result<std::vector<ExplainedPacket>> explain(const std::vector<Probe>& probes, const ResolvedEnds& ends, const Via& via,
                                             const Snapshot& snapshot, const DatapathMaps& maps, DryRun& datapath);

}  // namespace grantd
