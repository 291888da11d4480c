// What compile must know of the kernel's state, so that what is in force keeps its room. Pure.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/plan/kernel_state.h"

namespace grantd {

InForce in_force(const KernelState& kernel);

// After `state` has changed, or was read anew.
void note_slots_without_guests(BootNanoseconds now, KernelState& state);

// A guest may change the MAC address of its own end. On a link of its own that harms nobody; on a bridge it is held to
// the one that it had when it was attached.
void keep_macs(const KernelState& kernel, std::vector<InterfaceFact>& interfaces);

}  // namespace grantd
