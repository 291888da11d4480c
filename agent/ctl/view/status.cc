#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"
#include "crd-sync/problem.h"
#include "maps/fixed_text.h"
#include "maps/stamp_settings.h"

#include <nlohmann/json.hpp>

namespace grantd {
namespace {

struct Totals {
  std::size_t grants = 0, active = 0, guests = 0, quarantined = 0, not_enforced = 0;
  std::uint64_t passed = 0, dropped = 0, last_drop_ns = 0;
};

Totals totals_of(const Snapshot& snapshot) {
  Totals totals;
  for (const auto& [slot, name] : snapshot.slot_names) {
    totals.grants++;
    totals.active += reason_passes(standing(snapshot, slot));
  }
  totals.guests = snapshot.endpoints.size();
  totals.quarantined = quarantined_endpoints(snapshot);
  for (const auto& [cgroup, endpoint] : snapshot.host_guests)
    totals.not_enforced += (endpoint.flags & GRANTD_ENDPOINT_HOST_NETWORK) != 0;
  for (const auto& [slot, counters] : snapshot.counters)
    for (std::uint32_t index = 0; index < counters.size(); index++) {
      const bool passes = reason_passes(index % GRANTD_REASON_LIMIT);
      (passes ? totals.passed : totals.dropped) += counters[index].packets;
      if (!passes && counters[index].last_seen_ns > totals.last_drop_ns)
        totals.last_drop_ns = counters[index].last_seen_ns;
    }
  return totals;
}

// Its number where it is gone.
std::string interface_name(const AgentSign& agent, std::uint32_t ifindex) {
  const auto found = agent.interfaces.find(ifindex);
  return found == agent.interfaces.end() ? std::to_string(ifindex) : found->second;
}

std::string status_json(const Snapshot& snapshot, const AgentSign& agent, const Totals& totals) {
  const grantd_node& node = snapshot.node;
  auto uplinks = nlohmann::ordered_json::array();
  for (const auto& [ifindex, uplink] : snapshot.uplinks)
    uplinks.push_back({{"ifindex", ifindex},
                       {"interface", interface_name(agent, ifindex)},
                       {"class", uplink_class_name(uplink.uplink_class)}});
  auto limits = nlohmann::ordered_json::object();
  for (std::uint32_t kind = 0; kind < GRANTD_BOUNDS; kind++) {
    const grantd_bound& bound = snapshot.bounds[kind];
    limits[bound_name(kind)] = {{"limit", bound.most}, {"used", bound.used}, {"refused", bound.refused}};
  }
  auto maps = nlohmann::ordered_json::object();
  for (const auto& [name, fill] : snapshot.fills)
    maps[name] = {{"entries", fill.entries}, {"max_entries", fill.max_entries}};
  return json_text(
      {{"node", text_of(node.node)},
       {"agent", {{"running", agent.running}, {"pid", node.pid}, {"version", text_of(node.version)}}},
       {"pin_root", agent.pin_root},
       {"manifests", text_of(node.manifests)},
       {"applied_at", moment_json(snapshot.clock, node.applied_at_ns)},
       {"stamp_mask", hexadecimal(node.stamp_mask)},
       {"shaper", {{"mode", shaper_mode_name(snapshot.shaper.mode)}, {"why", text_of(snapshot.shaper.why)}}},
       {"grants", {{"known", totals.grants}, {"active", totals.active}}},
       {"guests",
        {{"attached", totals.guests}, {"quarantined", totals.quarantined}, {"not_enforced", totals.not_enforced}}},
       {"refused", agent.refusals.refused.size() + agent.refusals.more},
       {"packets",
        {{"passed", totals.passed},
         {"dropped", totals.dropped},
         {"last_drop", moment_json(snapshot.clock, totals.last_drop_ns)}}},
       {"uplinks", uplinks},
       {"limits", limits},
       {"maps", maps}});
}

std::string limits_text(const Snapshot& snapshot, bool colour) {
  Table table;
  table.columns = {{"LIMIT"}, {"USED", true}, {"OF", true}, {"REFUSED", true}};
  for (std::uint32_t kind = 0; kind < GRANTD_BOUNDS; kind++) {
    const grantd_bound& bound = snapshot.bounds[kind];
    table.rows.push_back({bound_name(kind),
                          {std::to_string(bound.used), bound.used > bound.most ? Colour::Bad : Colour::Plain},
                          std::to_string(bound.most),
                          {std::to_string(bound.refused), bound.refused ? Colour::Bad : Colour::Plain}});
  }
  return render(table, colour);
}

std::string maps_text(const Snapshot& snapshot, bool colour) {
  Table table;
  table.columns = {{"MAP"}, {"ENTRIES", true}, {"OF", true}, {"FILL", true}};
  for (const auto& [name, fill] : snapshot.fills) {
    const std::uint64_t percent = fill.max_entries ? fill.entries * 100 / fill.max_entries : 0;
    table.rows.push_back({name,
                          std::to_string(fill.entries),
                          std::to_string(fill.max_entries),
                          {std::to_string(percent) + " %", percent >= 90 ? Colour::Bad : Colour::Plain}});
  }
  return render(table, colour);
}

}  // namespace

std::string show_status(const Snapshot& snapshot, const AgentSign& agent, const Style& style) {
  const Totals totals = totals_of(snapshot);
  if (style.output == Output::Json) return status_json(snapshot, agent, totals);
  const grantd_node& node = snapshot.node;
  const Clock& clock = snapshot.clock;
  const std::string version = text_of(node.version);
  const Cell sign = agent.running ? Cell("running, pid " + std::to_string(node.pid), Colour::Good)
                                  : Cell("not running; what is attached keeps enforcing", Colour::Warning);
  std::string uplinks;
  for (const auto& [ifindex, uplink] : snapshot.uplinks)
    uplinks += (uplinks.empty() ? "" : ", ") + escape_text(interface_name(agent, ifindex)) + "=" +
               uplink_class_name(uplink.uplink_class);
  const std::string applied = node.applied_at_ns == 0 ? "never"
                                                      : ago_text(node.applied_at_ns, clock.boot_ns) + " (" +
                                                            time_text(clock.wall_of(node.applied_at_ns)) + ")";
  const std::string dropped =
      std::to_string(totals.dropped) + (totals.dropped ? ", last " + ago_text(totals.last_drop_ns, clock.boot_ns) : "");
  const std::uint64_t refused = agent.refusals.refused.size() + agent.refusals.more;
  const std::string facts = render_facts(
      {{"node", text_of(node.node)},
       {"agent", sign},
       {"version", version},
       {"manifests", text_of(node.manifests)},
       {"applied", applied},
       {"pin root", agent.pin_root},
       {"stamp mask", hexadecimal(node.stamp_mask)},
       {"shaper", std::string(shaper_mode_name(snapshot.shaper.mode)) + ": " + text_of(snapshot.shaper.why)},
       {"uplinks",
        uplinks.empty() ? Cell("none: whoever sends from outside is nobody", Colour::Warning) : Cell(uplinks)},
       {"grants", std::to_string(totals.grants) + " known, " + std::to_string(totals.active) + " active"},
       {"guests", Cell(std::to_string(totals.guests) + " attached, " + std::to_string(totals.quarantined) +
                           " closed, " + std::to_string(totals.not_enforced) + " not enforced",
                       totals.not_enforced ? Colour::Bad : Colour::Plain)},
       {"refused", refused
                       ? Cell(std::to_string(refused) + "; grantctl grants and grantctl endpoints say why", Colour::Bad)
                       : Cell("0")},
       {"packets passed", std::to_string(totals.passed)},
       {"packets dropped", dropped}},
      style.colour);
  return facts + "\n" + limits_text(snapshot, style.colour) +
         (snapshot.fills.empty() ? "" : "\n" + maps_text(snapshot, style.colour));
}

}  // namespace grantd
