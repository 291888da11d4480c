// How many entries each map gets for the limits, and what limits the maps that are there hold.
#pragma once

#include "agent/compile/node_facts.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace grantd {

using MapSizes = std::map<std::string, std::uint32_t>;  // by the map's name: max_entries

// Of the maps whose size depends on a limit; the others keep theirs.
MapSizes map_sizes(const Limits& limits);

// `wanted`, made smaller where one of these maps holds less. A map that is not in `sizes` holds all.
Limits limits_held(const Limits& wanted, const MapSizes& sizes);

// One warning for each limit that is smaller than what was wanted.
std::vector<Problem> unheld_limits(const Limits& wanted, const Limits& held);

}  // namespace grantd
