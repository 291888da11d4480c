// Entries of one rules_id by the longest prefix, as the kernel finds them. Pure.
#pragma once

#include "maps/abi/policy.h"

#include <algorithm>
#include <cstring>
#include <tuple>
#include <utility>
#include <vector>

namespace grantd {

// What contains a prefix comes before it, and what it contains follows it.
inline bool comes_before(const grantd_rule_key& one, const grantd_rule_key& other) {
  const int address = std::memcmp(one.address, other.address, sizeof(one.address));
  return std::tuple(one.direction, one.family, address, one.prefixlen) <
         std::tuple(other.direction, other.family, 0, other.prefixlen);
}

inline bool contains(const grantd_rule_key& wide, const grantd_rule_key& narrow) {
  if (wide.direction != narrow.direction || wide.family != narrow.family || wide.prefixlen > narrow.prefixlen)
    return false;
  const std::size_t bits = wide.prefixlen - GRANTD_RULE_KEY_FIXED_BITS, bytes = bits / 8;
  if (std::memcmp(wide.address, narrow.address, bytes) != 0) return false;
  return bits % 8 == 0 || (wide.address[bytes] ^ narrow.address[bytes]) >> (8 - bits % 8) == 0;
}

// One prefix after the other. What was given has to outlive it.
template <typename Entry>
class RuleWalk {
 public:
  using KeyOf = const grantd_rule_key& (*)(const Entry&);

  RuleWalk(const std::vector<Entry>& rules, KeyOf key_of) : key_of_(key_of) {
    sorted_.reserve(rules.size());
    for (const Entry& each : rules) sorted_.push_back(&each);
    std::sort(sorted_.begin(), sorted_.end(),
              [&](const Entry* one, const Entry* other) { return comes_before(key_of_(*one), key_of_(*other)); });
  }

  // The first one that was not passed yet, nullptr behind the last.
  const grantd_rule_key* next() const { return at_ < sorted_.size() ? &key_of_(*sorted_[at_]) : nullptr; }

  // The longest entry that contains `key` or is its own, nullptr where there is none. `key` comes no earlier than those
  // that were asked about before.
  const Entry* around(const grantd_rule_key& key) {
    while (next() && !comes_before(key, *next())) around_.push_back(sorted_[at_++]);
    while (!around_.empty() && !contains(key_of_(*around_.back()), key)) around_.pop_back();
    return around_.empty() ? nullptr : around_.back();
  }

  // Those inside the `key` that was asked about last, but itself.
  template <typename Each>
  void for_each_inside(const grantd_rule_key& key, Each each) const {
    for (std::size_t index = at_; index < sorted_.size() && contains(key, key_of_(*sorted_[index])); index++)
      each(*sorted_[index]);
  }

 private:
  KeyOf key_of_;
  std::vector<const Entry*> sorted_, around_;
  std::size_t at_ = 0;
};

}  // namespace grantd
