// Whatever interface of a guest our programs stand on is behind the gate, and what comes in through uplinks in their
// names.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/gate/gate.h"
#include "agent/metrics/agent_status.h"
#include "agent/plan/kernel_state.h"
#include "crd-sync/problem.h"

#include <vector>

namespace grantd {

// Puts there what the kernel says that the programs stand on; `look` as Gate::keep() has it. False where that failed
// and is to be tried again soon; whatever failed is one of the problems.
bool keep_gate(Gate& gate, bool look, const KernelState& kernel, const std::vector<InterfaceFact>& interfaces,
               AgentStatus& status, std::vector<Problem>& problems);

}  // namespace grantd
