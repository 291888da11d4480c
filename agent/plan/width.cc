#include "agent/plan/width.h"

#include "agent/plan/encode.h"
#include "agent/plan/rule_walk.h"

#include <algorithm>
#include <map>

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

const grantd_rule_key& key_of(const Rules::value_type& rule) { return rule.first; }

// Each address is judged by the longest prefix of either side around it; one of the two is the other's, or inside it.
bool opens_as_much(const Rules& wanted, const Rules& current) {
  RuleWalk after(wanted, key_of), before(current, key_of);
  const auto opened_at = [](auto& walk, const grantd_rule_key& key) -> const grantd_ranges& {
    const auto* rule = walk.around(key);
    return rule ? rule->second : kNothing;
  };
  while (after.next() || before.next()) {
    const bool earlier = !before.next() || (after.next() && comes_before(*after.next(), *before.next()));
    const grantd_rule_key key = earlier ? *after.next() : *before.next();
    const grantd_ranges& opened = opened_at(after, key);
    if (!opens_as_much(opened, opened_at(before, key))) return false;
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
