#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

namespace grantd {
namespace {

struct DropRow {
  std::string grant, reason, sentence;
  std::uint32_t direction = GRANTD_EGRESS;
  std::uint64_t packets = 0;
  // Of the datapath's alone.
  std::optional<std::uint32_t> slot;
  bool starts = false;
  std::uint64_t bytes = 0, last_seen_ns = 0;
};

std::vector<DropRow> datapath_rows(const Snapshot& snapshot) {
  std::vector<DropRow> rows;
  for (const auto& [slot, counters] : snapshot.counters)
    for (std::uint32_t index = 0; index < counters.size(); index++) {
      const std::uint32_t direction = index / GRANTD_REASON_LIMIT, reason = index % GRANTD_REASON_LIMIT;
      const grantd_counter& counter = counters[index];
      if (counter.packets == 0 || reason_passes(reason)) continue;
      rows.push_back({grant_name(snapshot, slot), reason_label(reason), reason_sentence(reason), direction,
                      counter.packets, slot, reason == GRANTD_REASON_NOT_YET_VALID, counter.bytes,
                      counter.last_seen_ns});
    }
  return rows;
}

// By Grant, quarantine first; in it the most frequent first.
std::vector<DropRow> drop_rows(const Snapshot& snapshot, const std::vector<GateDrop>& gate_drops,
                               const Filter& filter) {
  std::vector<DropRow> rows = datapath_rows(snapshot);
  for (const GateDrop& each : gate_drops)
    rows.push_back({.grant = each.grant,
                    .reason = each.reason,
                    .sentence = gate_reasons().at(each.reason),
                    .packets = each.packets,
                    .slot = {}});
  std::erase_if(rows, [&](const DropRow& row) {
    return !filter.accepts_grant(row.grant) || (!filter.reason.empty() && filter.reason != row.reason);
  });
  std::stable_sort(rows.begin(), rows.end(), [](const DropRow& one, const DropRow& other) {
    return std::tuple(one.grant, one.direction, other.packets) < std::tuple(other.grant, other.direction, one.packets);
  });
  return rows;
}

nlohmann::ordered_json drops_json(const Snapshot& snapshot, const std::vector<DropRow>& rows) {
  auto list = nlohmann::ordered_json::array();
  for (const DropRow& row : rows)
    list.push_back({{"grant", row.grant},
                    {"slot", row.slot ? nlohmann::ordered_json(*row.slot) : nullptr},
                    {"direction", direction_name(row.direction)},
                    {"reason", row.reason},
                    {"sentence", row.sentence},
                    {"starts_at", row.starts ? start_json(snapshot, *row.slot) : nullptr},
                    {"packets", row.packets},
                    {"bytes", row.slot ? nlohmann::ordered_json(row.bytes) : nullptr},
                    {"last_seen", moment_json(snapshot.clock, row.last_seen_ns)}});
  return {{"drops", list}};
}

}  // namespace

const std::map<std::string, std::string>& gate_reasons() {
  static const std::map<std::string, std::string> reasons = {
      {"unjudged", "A guest had the kernel pass its packet by the programs; the gate behind them dropped it."},
      {"forged", "A packet for the node itself came in the name of a guest, and not from it; the gate dropped it."}};
  return reasons;
}

std::string show_drops(const Snapshot& snapshot, const std::vector<GateDrop>& gate_drops, const Filter& filter,
                       const Style& style) {
  const auto rows = drop_rows(snapshot, gate_drops, filter);
  const Clock& clock = snapshot.clock;
  if (style.output == Output::Json) return json_text(drops_json(snapshot, rows));
  Table table;
  table.columns = {{"GRANT"}, {"DIRECTION"}, {"REASON"}, {"PACKETS", true}, {"BYTES", true}, {"LAST SEEN"}, {"AT"}};
  table.when_empty = "No packet was refused.";
  for (const DropRow& row : rows) {
    const std::string start = row.starts ? start_text(snapshot, *row.slot) : "";
    table.rows.push_back({row.grant,
                          direction_name(row.direction),
                          {row.reason + (start.empty() ? "" : " (starts " + start + ")"), Colour::Warning},
                          std::to_string(row.packets),
                          row.slot ? bytes_text(row.bytes) : "-",
                          row.slot ? ago_text(row.last_seen_ns, clock.boot_ns) : "-",
                          {row.slot ? time_text(clock.wall_of(row.last_seen_ns)) : "-", Colour::Faint}});
  }
  return render(table, style.colour);
}

}  // namespace grantd
