// What the manifests say of this node, made into a policy as the agent makes it; and the records beside it.
#pragma once

#include "agent/ctl/commands.h"
#include "agent/ctl/verify/differences.h"
#include "agent/handover/run_settings.h"
#include "maps/kernel/datapath_maps.h"

#include <string>

namespace grantd {

// Also the classes of the queues, which are the kernel's and not in a map.
Result<Records> read_all_records(const std::string& pin_root, const DatapathMaps& maps);

// Of the manifests (a directory or a file), on this node as it is now and as `records` know its clock. `settings`: what
// the agent was told; where it follows an API server, without guests unless `asked` has its pods. What stays in force
// of older versions is not looked at. Errors: the node, what it has latched, or the pods cannot be read.
Result<Said> read_said(const VerifyOptions& asked, const RunSettings& settings, const std::string& state_dir,
                       const Records& records);

}  // namespace grantd
