// What others on this node do with the packet's mark, as facts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace grantd {

enum class MarkAction : std::uint8_t {
  Set,        // the bits of the mask become those of the value
  Overwrite,  // they become something that the rule does not tell: a connection's mark, an entry of a map
  Match,      // they are compared with the value
  Test,       // they are looked at in another way
  Save,       // they are copied into the connection's mark
};

struct MarkUse {
  std::string owner;  // "iptables mangle PREROUTING", "policy routing rule 100 (IPv4)"
  MarkAction action = MarkAction::Match;
  std::uint32_t mask = 0;
  std::uint32_t value = 0;  // Set and Match: within the mask; else 0
  auto operator<=>(const MarkUse&) const = default;
};

struct MarkFacts {
  static constexpr std::size_t kMostUses = 4096;  // rules of one chain that do the same are one use

  std::set<MarkUse> uses;
  std::vector<std::string> unread;  // what could not be looked at, and why
  bool too_many = false;            // some were left out

  // A use of no bits is none.
  void add(MarkUse use) {
    if (use.mask == 0) return;
    if (uses.size() < kMostUses)
      uses.insert(std::move(use));
    else
      too_many |= !uses.contains(use);
  }
  // The uses of another, not what it could not look at.
  void add_all(const MarkFacts& other) {
    for (const MarkUse& use : other.uses) add(use);
    too_many |= other.too_many;
  }
  bool operator==(const MarkFacts&) const = default;
};

}  // namespace grantd
