#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include "agent/ctl/view/table.h"

#include <nlohmann/json.hpp>

namespace grantd {
namespace {

struct Sum {
  std::uint64_t passed_bytes = 0, passed_packets = 0, dropped_packets = 0;
};

Sum sum_of(const Snapshot& snapshot, std::uint32_t slot, std::uint32_t direction) {
  Sum sum;
  const auto found = snapshot.counters.find(slot);
  if (found == snapshot.counters.end() || found->second.empty()) return sum;
  for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
    const grantd_counter& counter = found->second[GRANTD_COUNTER_INDEX(direction, reason)];
    if (reason_passes(reason)) {
      sum.passed_bytes += counter.bytes;
      sum.passed_packets += counter.packets;
    } else {
      sum.dropped_packets += counter.packets;
    }
  }
  return sum;
}

std::uint64_t per_second(std::uint64_t before, std::uint64_t after, std::uint64_t elapsed_ns) {
  // A table that was made anew in between starts at zero.
  const std::uint64_t grown = after >= before ? after - before : after;
  return elapsed_ns ? static_cast<std::uint64_t>(static_cast<long double>(grown) * 1e9L / elapsed_ns) : 0;
}

}  // namespace

std::string show_top(const Snapshot& before, const Snapshot& after, const Filter& filter, const Style& style) {
  const std::uint64_t elapsed_ns = after.clock.boot_ns - before.clock.boot_ns;
  Table table;
  table.columns = {{"GRANT"},          {"DIRECTION"},       {"RATE", true},    {"LIMIT", true},
                   {"OF LIMIT", true}, {"PACKETS/S", true}, {"DROPS/S", true}, {"BUCKET", true}};
  table.when_empty = "No Grant is known.";
  auto list = nlohmann::ordered_json::array();
  for (const auto& [slot, counters] : after.counters) {
    const std::string grant = grant_name(after, slot);
    if (!filter.accepts_grant(grant)) continue;
    const grantd_policy* policy = policy_in_force(after, slot);
    for (std::uint32_t direction = 0; direction < GRANTD_DIRECTIONS; direction++) {
      const Sum old = sum_of(before, slot, direction), now = sum_of(after, slot, direction);
      const std::uint64_t rate_bps = 8 * per_second(old.passed_bytes, now.passed_bytes, elapsed_ns);
      const std::uint64_t packets = per_second(old.passed_packets, now.passed_packets, elapsed_ns);
      const std::uint64_t drops = per_second(old.dropped_packets, now.dropped_packets, elapsed_ns);
      const std::uint64_t limit_bps = policy ? policy->limit[direction].rate_bps : 0;
      const auto bucket = after.buckets.find(slot);
      std::string level = "-";
      if (limit_bps && bucket != after.buckets.end())
        level = bytes_text(bucket_level_bytes(bucket->second[direction], policy->limit[direction], policy->grant_epoch,
                                              after.clock.boot_ns));
      list.push_back(
          {{"grant", grant},
           {"direction", direction_name(direction)},
           {"bits_per_second", rate_bps},
           {"limit_bits_per_second", limit_bps ? nlohmann::ordered_json(limit_bps) : nlohmann::ordered_json()},
           {"packets_per_second", packets},
           {"drops_per_second", drops}});
      table.rows.push_back({grant,
                            direction_name(direction),
                            rate_text(rate_bps),
                            limit_bps ? rate_text(limit_bps) : "unlimited",
                            limit_bps ? std::to_string(rate_bps * 100 / limit_bps) + " %" : "-",
                            std::to_string(packets),
                            {std::to_string(drops), drops ? Colour::Warning : Colour::Plain},
                            level});
    }
  }
  if (style.output == Output::Json) return json_line({{"grants", list}});
  return render(table, style.colour);
}

}  // namespace grantd
