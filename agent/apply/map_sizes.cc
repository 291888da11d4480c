#include "agent/apply/map_sizes.h"

#include <algorithm>

namespace grantd {

namespace {

struct SizeRule {
  const char* map;
  std::size_t Limits::*limit;
  std::uint32_t each;   // entries for one
  std::uint32_t extra;  // slot 0
};

// Twice the limit where old and new entries stand side by side until the old ones are retired; all of
// these are made without memory for entries that are not there. Policies are small: four times.
constexpr SizeRule kRules[] = {
    {"grantd_grant", &Limits::grants, 1, 1},       {"grantd_policy", &Limits::grants, 4, 0},
    {"grantd_slotname", &Limits::grants, 1, 1},    {"grantd_flow", &Limits::grants, 1, 1},
    {"grantd_frag", &Limits::grants, 1, 1},        {"grantd_counter", &Limits::grants, 1, 1},
    {"grantd_bucket", &Limits::grants, 2, 2},      {"grantd_credit", &Limits::grants, 2, 2},
    {"grantd_endpoint", &Limits::endpoints, 1, 0}, {"grantd_hostguest", &Limits::endpoints, 1, 0},
    {"grantd_guest", &Limits::endpoints, 2, 0},    {"grantd_rule", &Limits::rules, 2, 0},
    {"grantd_idrule", &Limits::rules, 2, 0},       {"grantd_source", &Limits::rules, 2, 0},
    {"grantd_identity", &Limits::prefixes, 2, 0},  {"grantd_queue", &Limits::endpoints, 2, 0},
    {"grantd_device", &Limits::endpoints, 2, 0},   {"grantd_usage", &Limits::endpoints, 4, 0},
    {"grantd_delay", &Limits::grants, 2, 2},
};

}  // namespace

MapSizes map_sizes(const Limits& limits) {
  MapSizes sizes;
  for (const SizeRule& rule : kRules)
    sizes[rule.map] = static_cast<std::uint32_t>(limits.*rule.limit) * rule.each + rule.extra;
  return sizes;
}

Limits limits_held(const Limits& wanted, const MapSizes& sizes) {
  Limits held = wanted;
  for (const SizeRule& rule : kRules) {
    const auto size = sizes.find(rule.map);
    if (size == sizes.end()) continue;
    const std::size_t holds = size->second > rule.extra ? (size->second - rule.extra) / rule.each : 0;
    held.*rule.limit = std::min(held.*rule.limit, holds);
  }
  return held;
}

std::vector<Problem> unheld_limits(const Limits& wanted, const Limits& held) {
  constexpr std::pair<const char*, std::size_t Limits::*> kSettings[] = {{"--max-grants", &Limits::grants},
                                                                         {"--max-endpoints", &Limits::endpoints},
                                                                         {"--max-rules", &Limits::rules},
                                                                         {"--max-realm-prefixes", &Limits::prefixes}};
  std::vector<Problem> warnings;
  for (const auto& [setting, limit] : kSettings)
    if (held.*limit < wanted.*limit)
      warnings.push_back(
          {Severity::Warning,
           {},
           setting,
           "",
           std::to_string(wanted.*limit),
           "the maps that are pinned hold " + std::to_string(held.*limit) +
               ", and that counts until they are made anew: after a reboot, or after 'grantd uninstall', "
               "which opens the guests",
           ""});
  return warnings;
}

}  // namespace grantd
