// One Grant, as this node is to enforce it.
#pragma once

#include "agent/compile/node_facts.h"
#include "maps/result.h"

#include <set>
#include <string>

namespace grantd {

// `realms`: the names of all realms that are known here. `protected_prefixes`: see
// protected_ranges(). Fails, with what is wrong and what is accepted, where the Grant does not fit;
// it is never cut; `wrong`, which names the Grant and its place, then says the same in its parts. Warnings go into
// `problems`.
Result<CompiledGrant> compile_grant(const Grant& grant, const std::set<std::string>& realms,
                                    const std::vector<IpPrefix>& protected_prefixes, const TimeFacts& time,
                                    std::vector<Problem>& problems, Problem& wrong);

// Without an explicit burst: the larger of 256 KiB and what the rate gives in 250 ms.
std::uint64_t default_burst_bytes(std::uint64_t rate_bps);

}  // namespace grantd
