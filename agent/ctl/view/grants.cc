#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"
#include "maps/fixed_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace grantd {
namespace {

struct GrantRow {
  std::string grant, grantor, grantee, position;
  std::uint32_t slot = 0;
  std::uint64_t policy_id = 0;
  std::size_t guests = 0;
  grantd_reason standing = GRANTD_REASON_QUARANTINE;
  const grantd_policy* policy = nullptr;
  std::string starts;  // "" where it has begun
  nlohmann::ordered_json starts_at;
  std::uint64_t valid_from = 0, valid_until = 0;  // Unix seconds; 0: not bounded
};

GrantRow row_of(const Snapshot& snapshot, std::uint32_t slot) {
  GrantRow row;
  row.slot = slot;
  row.grant = grant_name(snapshot, slot);
  row.standing = standing(snapshot, slot);
  row.policy = policy_in_force(snapshot, slot);
  row.starts = start_text(snapshot, slot);
  row.starts_at = start_json(snapshot, slot);
  if (const auto published = snapshot.published.find(slot); published != snapshot.published.end())
    row.policy_id = published->second;
  if (const auto name = snapshot.slot_names.find(slot); name != snapshot.slot_names.end()) {
    row.grantor = text_of(name->second.grantor);
    row.grantee = text_of(name->second.grantee);
    row.position = position_text(text_of(name->second.file), name->second.line);
    row.valid_from = name->second.valid_from_seconds;
    row.valid_until = name->second.valid_until_seconds;
  }
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) row.guests += endpoint.slot == slot;
  for (const auto& [cgroup, endpoint] : snapshot.host_guests)
    row.guests += endpoint.slot == slot && (endpoint.flags & GRANTD_ENDPOINT_HOST_NETWORK);
  return row;
}

std::vector<GrantRow> grant_rows(const Snapshot& snapshot, const Filter& filter) {
  std::vector<GrantRow> rows;
  std::map<std::uint32_t, bool> slots;
  for (const auto& [slot, name] : snapshot.slot_names) slots[slot] = true;
  for (const auto& [slot, policy_id] : snapshot.published) slots[slot] = true;
  for (const auto& [slot, known] : slots)
    if (slot != 0 && filter.accepts_grant(grant_name(snapshot, slot))) rows.push_back(row_of(snapshot, slot));
  std::sort(rows.begin(), rows.end(),
            [](const GrantRow& one, const GrantRow& other) { return one.grant < other.grant; });
  return rows;
}

std::string limit_text(const GrantRow& row, std::uint32_t direction) {
  if (!row.policy) return "";
  const grantd_limit& limit = row.policy->limit[direction];
  return limit.rate_bps ? rate_text(limit.rate_bps) : "unlimited";
}

// The end that the kernel's clock will bring, which may come before validUntil.
std::string ends_text(const GrantRow& row, const Clock& clock) {
  if (!row.policy || row.policy->not_after_ns == GRANTD_TIME_NEVER) return row.policy ? "never" : "";
  if (row.policy->not_after_ns > clock.boot_ns) return "in " + duration_text(row.policy->not_after_ns - clock.boot_ns);
  return row.policy->not_after_ns <= 1 ? "over" : ago_text(row.policy->not_after_ns, clock.boot_ns);
}

nlohmann::ordered_json limit_json(const GrantRow& row, std::uint32_t direction) {
  if (!row.policy || !row.policy->limit[direction].rate_bps) return nullptr;
  const grantd_limit& limit = row.policy->limit[direction];
  return {{"bits_per_second", limit.rate_bps}, {"burst_bytes", limit.burst_bytes}};
}

nlohmann::ordered_json seconds_json(std::uint64_t seconds) {
  if (seconds == 0) return nullptr;
  return time_text(static_cast<std::int64_t>(seconds) * 1'000'000'000);
}

nlohmann::ordered_json row_json(const GrantRow& row, const Clock& clock) {
  const bool ends = row.policy && row.policy->not_after_ns != GRANTD_TIME_NEVER && row.policy->not_after_ns > 1;
  nlohmann::ordered_json ends_at = nullptr;
  if (ends) ends_at = moment_json(clock, row.policy->not_after_ns);
  return {{"grant", row.grant},
          {"slot", row.slot},
          {"policy_id", row.policy_id},
          {"state", state_name(row.standing)},
          {"grantor", row.grantor},
          {"grantee", row.grantee},
          {"guests", row.guests},
          {"egress_limit", limit_json(row, GRANTD_EGRESS)},
          {"ingress_limit", limit_json(row, GRANTD_INGRESS)},
          {"valid_from", seconds_json(row.valid_from)},
          {"valid_until", seconds_json(row.valid_until)},
          {"starts_at", row.starts_at},
          {"ends_at", ends_at},
          {"source", row.position}};
}

std::vector<ShownRefusal> shown_refusals(const Refusals& refusals, const std::vector<GrantRow>& rows,
                                         const Clock& clock, const Filter& filter) {
  std::vector<ShownRefusal> shown;
  for (const Refusal& each : refusals.refused) {
    if (each.kind != Refusal::Kind::Grant || !filter.accepts_grant(each.name)) continue;
    const auto row =
        std::find_if(rows.begin(), rows.end(), [&](const GrantRow& one) { return one.grant == each.name; });
    const grantd_policy* policy = row == rows.end() ? nullptr : row->policy;
    shown.push_back({each, row != rows.end(), policy != nullptr && policy->not_after_ns > clock.boot_ns});
  }
  return shown;
}

// Realms and files have no table: whoever asks for all Grants is told of them.
std::vector<ShownRefusal> refused_besides(const Refusals& refusals, const Filter& filter) {
  std::vector<ShownRefusal> shown;
  if (!filter.grant.empty()) return shown;
  for (const Refusal& each : refusals.refused)
    if (each.kind == Refusal::Kind::Realm || each.kind == Refusal::Kind::File) shown.push_back({each, true, false});
  return shown;
}

nlohmann::ordered_json besides_json(const std::vector<ShownRefusal>& shown) {
  auto list = nlohmann::ordered_json::array();
  for (const ShownRefusal& each : shown)
    list.push_back({{each.refusal.kind == Refusal::Kind::Realm ? "realm" : "file", each.refusal.name},
                    {"message", each.refusal.why}});
  return list;
}

}  // namespace

std::string show_grants(const Snapshot& snapshot, const Refusals& refusals, const Filter& filter, const Style& style) {
  const auto rows = grant_rows(snapshot, filter);
  auto refused = shown_refusals(refusals, rows, snapshot.clock, filter);
  const auto besides = refused_besides(refusals, filter);
  if (style.output == Output::Json) {
    auto list = nlohmann::ordered_json::array();
    for (const GrantRow& row : rows) list.push_back(row_json(row, snapshot.clock));
    return json_text({{"grants", list},
                      {"refused", refusals_json(refused, "grant")},
                      {"refused_besides", besides_json(besides)},
                      {"refused_more", refusals.more}});
  }
  Table table;
  table.columns = {{"GRANT"},        {"STATE"},         {"GRANTOR"}, {"GRANTEE"},      {"GUESTS", true},
                   {"EGRESS", true}, {"INGRESS", true}, {"ENDS"},    {"POLICY", true}, {"SOURCE"}};
  table.when_empty = "No Grant is known to this node.";
  for (const GrantRow& row : rows)
    table.rows.push_back({row.grant,
                          {state_name(row.standing) + (row.starts.empty() ? "" : " (starts " + row.starts + ")"),
                           state_colour(row.standing)},
                          row.grantor,
                          row.grantee,
                          std::to_string(row.guests),
                          limit_text(row, GRANTD_EGRESS),
                          limit_text(row, GRANTD_INGRESS),
                          ends_text(row, snapshot.clock),
                          std::to_string(row.policy_id),
                          row.position});
  for (const ShownRefusal& each : refused)
    if (!each.listed)
      table.rows.push_back({each.refusal.name, {"refused", Colour::Bad}, "", "", "0", "", "", "", "", ""});
  refused.insert(refused.end(), besides.begin(), besides.end());
  return render(table, style.colour) + refusals_text(refused, refusals.more);
}

}  // namespace grantd
