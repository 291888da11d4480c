#include "agent/compile/ranges.h"

#include <algorithm>

namespace grantd {

bool covers(const PortRange& wide, const PortRange& narrow) {
  return (wide.protocol == Protocol::Any || wide.protocol == narrow.protocol) && wide.low <= narrow.low &&
         wide.high >= narrow.high;
}

std::vector<CompiledRange> unite(const std::vector<CompiledRange>& one, const std::vector<CompiledRange>& other) {
  std::vector<CompiledRange> all = one;
  all.insert(all.end(), other.begin(), other.end());
  std::sort(all.begin(), all.end());
  std::vector<CompiledRange> kept;
  for (std::size_t index = 0; index < all.size(); index++) {
    bool redundant = false;
    for (std::size_t by = 0; by < all.size() && !redundant; by++) {
      if (by == index || !covers(all[by].range, all[index].range)) continue;
      // Of two that are equal the first stays.
      redundant = all[by].range != all[index].range || by < index;
    }
    if (!redundant) kept.push_back(all[index]);
  }
  return kept;
}

std::vector<CompiledRange> shorten(std::vector<CompiledRange> ranges, std::size_t limit) {
  if (ranges.size() <= limit) return ranges;
  std::sort(ranges.begin(), ranges.end());
  std::vector<CompiledRange> joined;
  for (const CompiledRange& each : ranges) {
    if (!joined.empty() && joined.back().range.protocol == each.range.protocol &&
        static_cast<int>(each.range.low) <= joined.back().range.high + 1) {
      joined.back().range.high = std::max(joined.back().range.high, each.range.high);
      joined.back().source = std::min(joined.back().source, each.source);
    } else {
      joined.push_back(each);
    }
  }
  return joined;
}

bool open_the_same(const std::vector<CompiledRange>& one, const std::vector<CompiledRange>& other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [](const CompiledRange& a, const CompiledRange& b) { return a.range == b.range; });
}

}  // namespace grantd
