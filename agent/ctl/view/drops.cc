#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <tuple>

namespace grantd {
namespace {

struct DropRow {
  std::string grant;
  std::uint32_t slot = 0;
  std::uint32_t direction = 0;
  std::uint32_t reason = 0;
  grantd_counter counter{};
};

// By Grant, quarantine first; in it the most frequent first.
std::vector<DropRow> drop_rows(const Snapshot& snapshot, const Filter& filter) {
  std::vector<DropRow> rows;
  for (const auto& [slot, counters] : snapshot.counters) {
    const std::string grant = grant_name(snapshot, slot);
    if (!filter.accepts_grant(grant)) continue;
    for (std::uint32_t index = 0; index < counters.size(); index++) {
      const std::uint32_t direction = index / GRANTD_REASON_LIMIT, reason = index % GRANTD_REASON_LIMIT;
      if (counters[index].packets == 0 || reason_passes(reason)) continue;
      if (!filter.reason.empty() && filter.reason != reason_label(reason)) continue;
      rows.push_back({grant, slot, direction, reason, counters[index]});
    }
  }
  std::sort(rows.begin(), rows.end(), [](const DropRow& one, const DropRow& other) {
    return std::tuple(one.grant, one.direction, other.counter.packets, one.reason) <
           std::tuple(other.grant, other.direction, one.counter.packets, other.reason);
  });
  return rows;
}

}  // namespace

std::string show_drops(const Snapshot& snapshot, const Filter& filter, const Style& style) {
  const auto rows = drop_rows(snapshot, filter);
  const Clock& clock = snapshot.clock;
  if (style.output == Output::Json) {
    auto list = nlohmann::ordered_json::array();
    for (const DropRow& row : rows)
      list.push_back(
          {{"grant", row.grant},
           {"slot", row.slot},
           {"direction", direction_name(row.direction)},
           {"reason", reason_label(row.reason)},
           {"sentence", reason_sentence(row.reason)},
           {"starts_at", row.reason == GRANTD_REASON_NOT_YET_VALID ? start_json(snapshot, row.slot) : nullptr},
           {"packets", row.counter.packets},
           {"bytes", row.counter.bytes},
           {"last_seen", moment_json(clock, row.counter.last_seen_ns)}});
    return json_text({{"drops", list}});
  }
  Table table;
  table.columns = {{"GRANT"}, {"DIRECTION"}, {"REASON"}, {"PACKETS", true}, {"BYTES", true}, {"LAST SEEN"}, {"AT"}};
  table.when_empty = "No packet was refused.";
  for (const DropRow& row : rows) {
    const std::string start = row.reason == GRANTD_REASON_NOT_YET_VALID ? start_text(snapshot, row.slot) : "";
    table.rows.push_back(
        {row.grant,
         direction_name(row.direction),
         {reason_label(row.reason) + (start.empty() ? "" : " (starts " + start + ")"), Colour::Warning},
         std::to_string(row.counter.packets),
         bytes_text(row.counter.bytes),
         ago_text(row.counter.last_seen_ns, clock.boot_ns),
         {time_text(clock.wall_of(row.counter.last_seen_ns)), Colour::Faint}});
  }
  return render(table, style.colour);
}

}  // namespace grantd
