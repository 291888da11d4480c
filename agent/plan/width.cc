#include "agent/plan/width.h"

#include "agent/plan/encode.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <tuple>

namespace grantd {

namespace {

using Rules = std::vector<std::pair<grantd_rule_key, grantd_ranges>>;
using IdentityRules = std::vector<std::pair<grantd_idrule_key, grantd_ranges>>;

const grantd_ranges kNothing{};

bool opens_as_much(const grantd_limit& wanted, const grantd_limit& current) {
  if (wanted.rate_bps == 0) return true;
  return current.rate_bps != 0 && wanted.rate_bps >= current.rate_bps && wanted.burst_bytes >= current.burst_bytes;
}

// Whether one of the ranges covers `range`. Merged ones need no two.
bool covers(const grantd_ranges& ranges, const grantd_range& range) {
  return std::any_of(ranges.range, ranges.range + ranges.count, [&](const grantd_range& each) {
    return (each.protocol == 0 || each.protocol == range.protocol) && each.low <= range.low && each.high >= range.high;
  });
}

bool opens_as_much(const grantd_ranges& wanted, const grantd_ranges& current) {
  return std::all_of(current.range, current.range + current.count,
                     [&](const grantd_range& each) { return covers(wanted, each); });
}

// What contains a prefix comes before it.
bool comes_before(const grantd_rule_key& one, const grantd_rule_key& other) {
  const int address = std::memcmp(one.address, other.address, sizeof(one.address));
  return std::tuple(one.direction, one.family, address, one.prefixlen) <
         std::tuple(other.direction, other.family, 0, other.prefixlen);
}

bool contains(const grantd_rule_key& wide, const grantd_rule_key& narrow) {
  if (wide.direction != narrow.direction || wide.family != narrow.family || wide.prefixlen > narrow.prefixlen)
    return false;
  const std::size_t bits = wide.prefixlen - GRANTD_RULE_KEY_FIXED_BITS, bytes = bits / 8;
  if (std::memcmp(wide.address, narrow.address, bytes) != 0) return false;
  return bits % 8 == 0 || (wide.address[bytes] ^ narrow.address[bytes]) >> (8 - bits % 8) == 0;
}

// The rules in force at one prefix after the other.
class Walk {
 public:
  explicit Walk(const Rules& rules) {
    for (const auto& each : rules) sorted_.push_back(&each);
    std::sort(sorted_.begin(), sorted_.end(),
              [](const auto* one, const auto* other) { return comes_before(one->first, other->first); });
  }
  const grantd_rule_key* next() const { return at_ < sorted_.size() ? &sorted_[at_]->first : nullptr; }
  // What it says of `key`, which comes after those that were asked about before.
  const grantd_ranges& at(const grantd_rule_key& key) {
    while (next() && !comes_before(key, *next())) around_.push_back(sorted_[at_++]);
    while (!around_.empty() && !contains(around_.back()->first, key)) around_.pop_back();
    return around_.empty() ? kNothing : around_.back()->second;
  }

 private:
  std::vector<const Rules::value_type*> sorted_, around_;
  std::size_t at_ = 0;
};

// Each address is judged by the longest prefix of either side around it; one of the two is the other's, or inside it.
bool opens_as_much(const Rules& wanted, const Rules& current) {
  Walk after(wanted), before(current);
  while (after.next() || before.next()) {
    const bool earlier = !before.next() || (after.next() && comes_before(*after.next(), *before.next()));
    const grantd_rule_key key = earlier ? *after.next() : *before.next();
    const grantd_ranges& opened = after.at(key);
    if (!opens_as_much(opened, before.at(key))) return false;
  }
  return true;
}

bool opens_as_much(const IdentityRules& wanted, const IdentityRules& current) {
  std::map<std::pair<std::uint32_t, std::uint32_t>, const grantd_ranges*> opened;
  for (const auto& [key, ranges] : wanted) opened[{key.identity, key.direction}] = &ranges;
  return std::all_of(current.begin(), current.end(), [&](const auto& each) {
    const auto found = opened.find({each.first.identity, each.first.direction});
    return opens_as_much(found == opened.end() ? kNothing : *found->second, each.second);
  });
}

}  // namespace

bool opens_as_much(const grantd_policy& wanted, const grantd_policy& current, BootNanoseconds now) {
  if (current.not_after_ns <= now) return true;
  if (std::max<BootNanoseconds>(wanted.not_before_ns, now) > std::max<BootNanoseconds>(current.not_before_ns, now) ||
      wanted.not_after_ns < current.not_after_ns)
    return false;
  for (std::size_t direction = 0; direction < GRANTD_DIRECTIONS; direction++)
    if (!opens_as_much(wanted.limit[direction], current.limit[direction])) return false;
  return wanted.identity == current.identity && wanted.slot == current.slot;
}

bool opens_as_much(const grantd_endpoint& wanted, const grantd_endpoint& current) {
  if (current.slot == 0) return true;
  const auto lacks = [](const auto& addresses, const auto& address) {
    return std::none_of(std::begin(addresses), std::end(addresses),
                        [&](const auto& each) { return same_bytes(each, address); });
  };
  for (const auto& each : current.ipv4)
    if (each && lacks(wanted.ipv4, each)) return false;
  for (const auto& each : current.ipv6)
    if (!same_bytes(each, grantd_address{}) && lacks(wanted.ipv6, each)) return false;
  return wanted.slot == current.slot && wanted.endpoint_id == current.endpoint_id && wanted.flags == current.flags &&
         same_bytes(wanted.mac, current.mac) && same_bytes(wanted.link_local, current.link_local);
}

bool opens_as_much(const operation::PutRules& wanted, const operation::PutRules& current) {
  return opens_as_much(wanted.rules, current.rules) && opens_as_much(wanted.identity_rules, current.identity_rules);
}

}  // namespace grantd
