// Desired state, node facts and time in; what this node is to enforce out. Pure.
#pragma once

#include "agent/compile/node_facts.h"

namespace grantd {

CompiledPolicy compile(const DesiredState& desired, const NodeFacts& node, const TimeFacts& time,
                       const Limits& limits = {});

}  // namespace grantd
