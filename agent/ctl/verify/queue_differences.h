// The queues beside the policies in force, which differences.h compares with the manifests. Pure.
#pragma once

#include "agent/plan/kernel_state.h"

#include <string>
#include <vector>

namespace grantd {

// One line for each guest under a limit that does not wait where it should, for each class that lets through another
// rate or lets more wait than the limit in force says, and for each that nobody's limit asks for. `state`: the records
// and the queues; its tables and attachments are not looked at.
std::vector<std::string> queue_differences(const KernelState& state);

}  // namespace grantd
