// What grantctl cannot find in maps: which Grants and guests were refused, and what the agent was told.
#pragma once

#include "agent/compile/compiled_policy.h"
#include "agent/handover/refusals.h"
#include "agent/settings/settings.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd {

// Of the newest version that the source has, whatever stayed in force of an older one. Sorted, one for each name.
Refusals refusals_of(const DesiredState& desired, const CompiledPolicy& compiled);

std::vector<std::string> refused_grants(const Refusals& refusals);  // NAMESPACE/NAME

// Writes both down in the state directory; what went wrong.
std::optional<Problem> tell_grantctl(const Settings& settings, const CompiledPolicy& compiled, Refusals refusals);

}  // namespace grantd
