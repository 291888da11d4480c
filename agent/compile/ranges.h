// Sets of protocols and ports, as one rule opens them.
#pragma once

#include "agent/compile/compiled_policy.h"

#include <vector>

namespace grantd {

bool covers(const PortRange& wide, const PortRange& narrow);

// The union of both, sorted, without ranges that another one covers. Where two entries open the
// same, the one that stands first in the manifest is named.
std::vector<CompiledRange> unite(const std::vector<CompiledRange>& one, const std::vector<CompiledRange>& other);

// Joins ranges that touch or overlap, whoever opened them, where there are more than `limit`.
std::vector<CompiledRange> shorten(std::vector<CompiledRange> ranges, std::size_t limit);

// Whether both open the same, whichever entries did it.
bool open_the_same(const std::vector<CompiledRange>& one, const std::vector<CompiledRange>& other);

inline const CompiledRange kEverything{};  // every protocol, every port, by a default of the design

}  // namespace grantd
