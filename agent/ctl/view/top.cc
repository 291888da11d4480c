#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include "agent/ctl/view/table.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

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

// A guest's row under its Grant's: what it takes of the limit that all share. The Grant's own: all of them together.
struct LimitedRates {
  std::uint64_t bits = 0, packets = 0, delayed_bits = 0;
  std::optional<std::uint64_t> dropped_bits = 0;  // by the bucket and in full queues; nothing where that is not known
  std::optional<std::uint64_t> waiting_bytes = 0;

  void add(const LimitedRates& other) {
    bits += other.bits;
    packets += other.packets;
    delayed_bits += other.delayed_bits;
    dropped_bits = known_sum(dropped_bits, other.dropped_bits);
    waiting_bytes = known_sum(waiting_bytes, other.waiting_bytes);
  }
};

// Of what nothing went into nothing is lost, whether or not its queue could be read.
std::optional<std::uint64_t> lost_bytes(const UsageState& state) {
  return state.usage.queued_bytes == 0 ? 0 : state.lost_bytes;
}

LimitedRates rates_of(const Snapshot& before, const UsageState& now, std::uint32_t endpoint_id, std::uint32_t direction,
                      std::uint64_t elapsed_ns) {
  UsageState old;
  if (const auto found = before.usage.find(endpoint_id); found != before.usage.end()) old = found->second[direction];
  LimitedRates rates;
  rates.bits = 8 * per_second(old.usage.allowed_bytes, now.usage.allowed_bytes, elapsed_ns);
  rates.packets = per_second(old.usage.allowed_packets, now.usage.allowed_packets, elapsed_ns);
  rates.delayed_bits = 8 * per_second(old.usage.returned_bytes, now.usage.returned_bytes, elapsed_ns);
  rates.waiting_bytes = now.waiting_bytes;
  const auto lost_before = lost_bytes(old), lost = lost_bytes(now);
  rates.dropped_bits.reset();
  if (lost_before && lost)
    rates.dropped_bits = 8 * (per_second(old.usage.refused_bytes, now.usage.refused_bytes, elapsed_ns) +
                              per_second(*lost_before, *lost, elapsed_ns));
  return rates;
}

using GuestRates = std::vector<std::pair<std::string, LimitedRates>>;  // with their names

GuestRates guests_of(const Snapshot& before, const Snapshot& after, std::uint32_t slot, std::uint32_t direction) {
  GuestRates guests;
  for (const auto& [endpoint_id, pair] : after.usage) {
    const auto guest = after.guests.find(endpoint_id);
    if (guest == after.guests.end() || guest->second.slot != slot) continue;
    guests.emplace_back(guest_name(after, endpoint_id), rates_of(before, pair[direction], endpoint_id, direction,
                                                                 after.clock.boot_ns - before.clock.boot_ns));
  }
  return guests;
}

LimitedRates sum_of(const GuestRates& guests) {
  LimitedRates sum;
  for (const auto& [name, rates] : guests) sum.add(rates);
  return sum;
}

Cell dropped_cell(const LimitedRates& rates) {
  if (!rates.dropped_bits) return "?";
  return {rate_text(*rates.dropped_bits), *rates.dropped_bits ? Colour::Warning : Colour::Plain};
}

std::string waiting_text(const LimitedRates& rates) {
  return rates.waiting_bytes ? bytes_text(*rates.waiting_bytes) : "?";
}

// null: not known.
nlohmann::ordered_json known_json(const std::optional<std::uint64_t>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

nlohmann::ordered_json add_guests(const GuestRates& guests, std::uint32_t direction, std::uint64_t limit_bps,
                                  Table& table) {
  auto list = nlohmann::ordered_json::array();
  for (const auto& [name, rates] : guests) {
    list.push_back({{"guest", name},
                    {"bits_per_second", rates.bits},
                    {"packets_per_second", rates.packets},
                    {"delayed_bits_per_second", rates.delayed_bits},
                    {"dropped_bits_per_second", known_json(rates.dropped_bits)},
                    {"queue_bytes", known_json(rates.waiting_bytes)}});
    table.rows.push_back({"  " + name, direction_name(direction), rate_text(rates.bits), "shared",
                          std::to_string(rates.bits * 100 / limit_bps) + " %", std::to_string(rates.packets), "-",
                          dropped_cell(rates), waiting_text(rates), "-"});
  }
  return list;
}

// Nothing where there is no limit.
std::optional<std::uint64_t> bucket_bytes(const Snapshot& snapshot, std::uint32_t slot, const grantd_policy* policy,
                                          std::uint32_t direction) {
  const auto bucket = snapshot.buckets.find(slot);
  if (!policy || policy->limit[direction].rate_bps == 0 || bucket == snapshot.buckets.end()) return std::nullopt;
  return bucket_level_bytes(bucket->second[direction], policy->limit[direction], policy->grant_epoch,
                            snapshot.clock.boot_ns);
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
      const GuestRates guests = limit_bps ? guests_of(before, after, slot, direction) : GuestRates();
      const LimitedRates sum = sum_of(guests);
      const auto level = bucket_bytes(after, slot, policy, direction);
      table.rows.push_back({grant,
                            direction_name(direction),
                            rate_text(rate_bps),
                            limit_bps ? rate_text(limit_bps)
                            : policy  ? "unlimited"
                                      : "closed",
                            limit_bps ? std::to_string(rate_bps * 100 / limit_bps) + " %" : "-",
                            std::to_string(packets),
                            {std::to_string(drops), drops ? Colour::Warning : Colour::Plain},
                            limit_bps ? dropped_cell(sum) : "-",
                            limit_bps ? waiting_text(sum) : "-",
                            level ? bytes_text(*level) : "-"});
      // None: nothing waits where there is no limit.
      const auto of_limit = [&](nlohmann::ordered_json value) { return limit_bps ? value : nlohmann::ordered_json(); };
      list.push_back({{"grant", grant},
                      {"direction", direction_name(direction)},
                      {"bits_per_second", rate_bps},
                      // None: unlimited. Of quarantine it is 0, nothing passes.
                      {"limit_bits_per_second",
                       limit_bps || !policy ? nlohmann::ordered_json(limit_bps) : nlohmann::ordered_json()},
                      {"packets_per_second", packets},
                      {"drops_per_second", drops},
                      {"delayed_bits_per_second", of_limit(sum.delayed_bits)},
                      {"dropped_bits_per_second", of_limit(known_json(sum.dropped_bits))},
                      {"queue_bytes", of_limit(known_json(sum.waiting_bytes))},
                      {"bucket_bytes", known_json(level)},
                      {"guests", add_guests(guests, direction, limit_bps, table)}});
    }
  }
  if (style.output == Output::Json) return json_line({{"grants", list}});
  return render(table, style.colour);
}

}  // namespace grantd
