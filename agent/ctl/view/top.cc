#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include "agent/ctl/view/table.h"

#include <nlohmann/json.hpp>

#include <algorithm>

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

// A guest's row under its Grant's: what it takes of the limit that all share.
struct GuestRates {
  std::uint64_t bits = 0, packets = 0, lost_bits = 0, waiting_bytes = 0;
};

GuestRates rates_of(const Snapshot& before, const UsageState& now, std::uint32_t endpoint_id, std::uint32_t direction,
                    std::uint64_t elapsed_ns) {
  UsageState old;
  if (const auto found = before.usage.find(endpoint_id); found != before.usage.end()) old = found->second[direction];
  const std::uint64_t lost =
      per_second(old.usage.refused_bytes, now.usage.refused_bytes, elapsed_ns) +
      (old.lost_bytes && now.lost_bytes ? per_second(*old.lost_bytes, *now.lost_bytes, elapsed_ns) : 0);
  return {8 * per_second(old.usage.allowed_bytes, now.usage.allowed_bytes, elapsed_ns),
          per_second(old.usage.allowed_packets, now.usage.allowed_packets, elapsed_ns), 8 * lost, now.waiting_bytes};
}

nlohmann::ordered_json add_guests(const Snapshot& before, const Snapshot& after, std::uint32_t slot,
                                  std::uint32_t direction, std::uint64_t limit_bps, Table& table) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& [endpoint_id, pair] : after.usage) {
    const auto guest = after.guests.find(endpoint_id);
    if (guest == after.guests.end() || guest->second.slot != slot) continue;
    const std::string name = guest_name(after, endpoint_id);
    const GuestRates rates =
        rates_of(before, pair[direction], endpoint_id, direction, after.clock.boot_ns - before.clock.boot_ns);
    list.push_back({{"guest", name},
                    {"bits_per_second", rates.bits},
                    {"packets_per_second", rates.packets},
                    {"dropped_bits_per_second", rates.lost_bits},
                    {"queue_bytes", rates.waiting_bytes}});
    table.rows.push_back({"  " + name,
                          direction_name(direction),
                          rate_text(rates.bits),
                          "shared",
                          std::to_string(rates.bits * 100 / limit_bps) + " %",
                          std::to_string(rates.packets),
                          "-",
                          {rate_text(rates.lost_bits), rates.lost_bits ? Colour::Warning : Colour::Plain},
                          bytes_text(rates.waiting_bytes),
                          "-"});
  }
  return list;
}

}  // namespace

std::string show_top(const Snapshot& before, const Snapshot& after, const Filter& filter, const Style& style) {
  const std::uint64_t elapsed_ns = after.clock.boot_ns - before.clock.boot_ns;
  Table table;
  table.columns = {{"GRANT"},           {"DIRECTION"},     {"RATE", true},    {"LIMIT", true}, {"OF LIMIT", true},
                   {"PACKETS/S", true}, {"DROPS/S", true}, {"DROPPED", true}, {"QUEUE", true}, {"BUCKET", true}};
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
      table.rows.push_back({grant,
                            direction_name(direction),
                            rate_text(rate_bps),
                            limit_bps ? rate_text(limit_bps)
                            : policy  ? "unlimited"
                                      : "closed",
                            limit_bps ? std::to_string(rate_bps * 100 / limit_bps) + " %" : "-",
                            std::to_string(packets),
                            {std::to_string(drops), drops ? Colour::Warning : Colour::Plain},
                            "-",
                            "-",
                            level});
      auto guests =
          limit_bps ? add_guests(before, after, slot, direction, limit_bps, table) : nlohmann::ordered_json::array();
      list.push_back({{"grant", grant},
                      {"direction", direction_name(direction)},
                      {"bits_per_second", rate_bps},
                      // None: unlimited. Of quarantine it is 0, nothing passes.
                      {"limit_bits_per_second",
                       limit_bps || !policy ? nlohmann::ordered_json(limit_bps) : nlohmann::ordered_json()},
                      {"packets_per_second", packets},
                      {"drops_per_second", drops},
                      {"guests", std::move(guests)}});
    }
  }
  if (style.output == Output::Json) return json_line({{"grants", list}});
  return render(table, style.colour);
}

}  // namespace grantd
