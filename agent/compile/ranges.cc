#include "agent/compile/ranges.h"

#include <algorithm>
#include <iterator>
#include <tuple>

namespace grantd {

bool covers(const PortRange& wide, const PortRange& narrow) {
  return (wide.protocol == Protocol::Any || wide.protocol == narrow.protocol) && wide.low <= narrow.low &&
         wide.high >= narrow.high;
}

std::vector<CompiledRange> unite(const std::vector<CompiledRange>& one, const std::vector<CompiledRange>& other) {
  std::vector<CompiledRange> all = one;
  all.insert(all.end(), other.begin(), other.end());
  // What covers another one comes before it, and of two that are equal the first by its source.
  std::sort(all.begin(), all.end(), [](const CompiledRange& a, const CompiledRange& b) {
    return std::tuple(a.range.protocol, a.range.low, -int{a.range.high}, a.source) <
           std::tuple(b.range.protocol, b.range.low, -int{b.range.high}, b.source);
  });
  std::vector<CompiledRange> of_any, kept;
  for (const CompiledRange& each : all)
    if (each.range.protocol == Protocol::Any && (of_any.empty() || each.range.high > of_any.back().range.high))
      of_any.push_back(each);
  for (const CompiledRange& each : all) {
    // Their ends grow with their beginnings: the last that begins before this one reaches farthest.
    const auto after =
        std::upper_bound(of_any.begin(), of_any.end(), each.range.low,
                         [](std::uint16_t low, const CompiledRange& any) { return low < any.range.low; });
    const bool by_any =
        each.range.protocol != Protocol::Any && after != of_any.begin() && covers(std::prev(after)->range, each.range);
    if (!by_any && (kept.empty() || !covers(kept.back().range, each.range))) kept.push_back(each);
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
