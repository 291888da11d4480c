#include "agent/compile/address_rules.h"

#include "agent/compile/ranges.h"
#include "agent/compile/special_prefixes.h"

namespace grantd {

void AddressRules::protect(const IpPrefix& prefix) { entries_[prefix].protected_range = true; }

void AddressRules::open(const IpPrefix& prefix, const std::vector<CompiledRange>& ranges) {
  Entry& entry = entries_[prefix];
  entry.ranges.insert(entry.ranges.end(), ranges.begin(), ranges.end());
}

void AddressRules::open_internet(const std::vector<CompiledRange>& ranges) {
  for (const InternetPrefix& each : internet_prefixes()) {
    Entry& entry = entries_[each.prefix];
    if (each.reachable)
      entry.internet_ranges.insert(entry.internet_ranges.end(), ranges.begin(), ranges.end());
    else
      entry.stops_internet = true;
  }
}

std::vector<CompiledRule> AddressRules::close() const {
  struct Open {
    IpPrefix prefix;
    bool protected_range, inside_protected;
    std::vector<CompiledRange> ranges, internet_ranges, together;
  };
  std::vector<Open> around;  // the prefixes that contain the current one, widest first
  std::vector<CompiledRule> rules;
  // Sorted by address, then by length: what contains a prefix comes before it.
  for (const auto& [prefix, entry] : entries_) {
    while (!around.empty() && !around.back().prefix.contains(prefix)) around.pop_back();
    const Open* parent = around.empty() ? nullptr : &around.back();
    const bool inside_protected = entry.protected_range || (parent && parent->inside_protected);
    Open open{prefix, entry.protected_range, inside_protected, entry.ranges, {}, {}};
    // None of the internet's prefixes is an entry of its own, wherever it lies.
    if (!inside_protected) open.internet_ranges = entry.internet_ranges;
    const bool inherits = parent && !entry.protected_range;
    open.ranges = unite(open.ranges, inherits ? parent->ranges : std::vector<CompiledRange>());
    open.internet_ranges =
        unite(open.internet_ranges,
              inherits && !entry.stops_internet ? parent->internet_ranges : std::vector<CompiledRange>());
    open.together = unite(open.ranges, open.internet_ranges);
    const bool same_as_parent = parent && open_the_same(open.together, parent->together) &&
                                (!entry.protected_range || (parent->protected_range && open.together.empty()));
    const bool says_nothing = !parent && open.together.empty() && !entry.protected_range;
    if (!same_as_parent && !says_nothing) rules.push_back({prefix, entry.protected_range, open.together});
    // What lies inside a protected range is told apart from what lies outside: for the reason.
    open.protected_range = entry.protected_range || (parent && parent->protected_range && open.together.empty());
    around.push_back(std::move(open));
  }
  return rules;
}

}  // namespace grantd
