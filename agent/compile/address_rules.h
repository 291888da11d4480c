// From a list of destinations to the entries of a trie whose longest match answers alone (rule 8).
#pragma once

#include "agent/compile/compiled_policy.h"

#include <map>
#include <vector>

namespace grantd {

class AddressRules {
 public:
  // Only an entry inside it opens a protected range.
  void protect(const IpPrefix& prefix);
  void open(const IpPrefix& prefix, const std::vector<CompiledRange>& ranges);
  void open_internet(const std::vector<CompiledRange>& ranges);

  // Closed and minimal: each entry holds what the wider ones open; one that says the same as the
  // next wider one is left out, but for a protected range that is opened. Sorted by prefix.
  std::vector<CompiledRule> close() const;

 private:
  struct Entry {
    bool protected_range = false;
    bool stops_internet = false;
    std::vector<CompiledRange> ranges;           // by prefix: inherited by all that lies inside
    std::vector<CompiledRange> internet_ranges;  // inherited only by what is globally reachable
  };
  std::map<IpPrefix, Entry> entries_;
};

}  // namespace grantd
