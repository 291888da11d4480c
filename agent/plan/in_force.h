// What compile must know of the kernel's state, so that what is in force keeps its room. Pure.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/plan/kernel_state.h"

namespace grantd {

InForce in_force(const KernelState& kernel);

}  // namespace grantd
