// Programs that somebody took away.
#pragma once

#include "agent/compile/node_facts.h"
#include "agent/plan/attachment.h"

#include <cstdint>
#include <set>
#include <vector>

namespace grantd {

// How many; those that went with their interface or their cgroup are none.
std::uint64_t lost_programs(const std::set<Attachment>& before, const std::set<Attachment>& now,
                            const std::vector<InterfaceFact>& interfaces);

}  // namespace grantd
