#include "agent/ctl/view/common.h"
#include "agent/ctl/view/views.h"
#include "agent/plan/encode.h"
#include "maps/fixed_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace grantd {
namespace {

struct EndpointRow {
  std::string guest, interface, grant, mac, position;
  std::vector<std::string> addresses;
  std::uint32_t id = 0, ifindex = 0, slot = 0;
  std::uint64_t cgroup = 0;
  bool host_network = false;
  std::string state;  // one word
  std::string why;
  Colour colour = Colour::Plain;
};

EndpointRow row_of(const Snapshot& snapshot, const grantd_endpoint& endpoint, std::uint64_t cgroup) {
  EndpointRow row;
  row.guest = guest_name(snapshot, endpoint.endpoint_id);
  row.grant = grant_name(snapshot, endpoint.slot);
  row.addresses = addresses_of(endpoint);
  row.id = endpoint.endpoint_id;
  row.ifindex = endpoint.ifindex;
  row.slot = endpoint.slot;
  row.cgroup = cgroup;
  row.host_network = (endpoint.flags & GRANTD_ENDPOINT_HOST_NETWORK) != 0;
  row.mac = endpoint.flags & (GRANTD_ENDPOINT_LAYER3 | GRANTD_ENDPOINT_HOST_NETWORK) ? "" : decode_mac(endpoint).text();
  const auto named = snapshot.guests.find(endpoint.endpoint_id);
  if (named != snapshot.guests.end()) {
    row.interface = text_of(named->second.interface);
    row.position = position_text(text_of(named->second.file), named->second.line);
    row.why = text_of(named->second.quarantine);
  }
  const grantd_reason standing_now = standing(snapshot, endpoint.slot);
  row.state = row.host_network ? "not_enforced" : state_name(standing_now);
  row.colour = row.host_network ? Colour::Bad : state_colour(standing_now);
  if (row.host_network)
    row.why = "on the host network: packet sockets pass the backstop by";
  else if (row.why.empty() && !reason_passes(standing_now))
    row.why = reason_sentence(standing_now);
  if (const std::string start = start_text(snapshot, endpoint.slot); !start.empty() && !row.host_network)
    row.why += " It starts " + start + ".";
  return row;
}

std::vector<EndpointRow> endpoint_rows(const Snapshot& snapshot, const Filter& filter) {
  std::vector<EndpointRow> rows;
  const auto add = [&](EndpointRow row) {
    if (filter.accepts_grant(row.grant) && (filter.guest.empty() || filter.guest == row.guest))
      rows.push_back(std::move(row));
  };
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) add(row_of(snapshot, endpoint, 0));
  for (const auto& [cgroup, endpoint] : snapshot.host_guests)
    // A guest with an interface may have a cgroup too: it is shown once.
    if (endpoint.flags & GRANTD_ENDPOINT_HOST_NETWORK) add(row_of(snapshot, endpoint, cgroup));
  std::sort(rows.begin(), rows.end(), [](const EndpointRow& one, const EndpointRow& other) {
    return std::tie(one.guest, one.id) < std::tie(other.guest, other.id);
  });
  return rows;
}

// Which Grant it would be under is not known.
std::vector<ShownRefusal> shown_refusals(const Snapshot& snapshot, const Refusals& refusals,
                                         const std::vector<EndpointRow>& rows, const Filter& filter) {
  std::vector<ShownRefusal> shown;
  if (!filter.grant.empty()) return shown;
  for (const Refusal& each : refusals.refused) {
    if (each.kind != Refusal::Kind::Guest || (!filter.guest.empty() && filter.guest != each.name)) continue;
    // It may have several, and left some behind, which are under no Grant.
    bool listed = false, in_force = false;
    for (const EndpointRow& row : rows) {
      if (row.guest != each.name) continue;
      listed = true;
      in_force |= snapshot.published.contains(row.slot);
    }
    shown.push_back({each, listed, in_force});
  }
  return shown;
}

}  // namespace

std::string show_endpoints(const Snapshot& snapshot, const Refusals& refusals, const Filter& filter,
                           const Style& style) {
  const auto rows = endpoint_rows(snapshot, filter);
  const auto refused = shown_refusals(snapshot, refusals, rows, filter);
  if (style.output == Output::Json) {
    auto list = nlohmann::ordered_json::array();
    for (const EndpointRow& row : rows)
      list.push_back({{"guest", row.guest},
                      {"endpoint_id", row.id},
                      {"interface", row.interface},
                      {"ifindex", row.ifindex},
                      {"cgroup_id", row.cgroup},
                      {"grant", row.slot ? nlohmann::ordered_json(row.grant) : nlohmann::ordered_json(nullptr)},
                      {"slot", row.slot},
                      {"state", row.state},
                      {"message", row.why},
                      {"mac", row.mac},
                      {"addresses", row.addresses},
                      {"source", row.position}});
    return json_text(
        {{"endpoints", list}, {"refused", refusals_json(refused, "guest")}, {"refused_more", refusals.more}});
  }
  Table table;
  table.columns = {{"GUEST"}, {"INTERFACE"}, {"GRANT"}, {"STATE"}, {"ADDRESSES"}, {"MAC"}, {"ID", true}, {"MESSAGE"}};
  table.when_empty = "No guest is attached to this node.";
  for (const EndpointRow& row : rows)
    table.rows.push_back({row.guest,
                          row.host_network ? "(host network)" : row.interface + "(" + std::to_string(row.ifindex) + ")",
                          row.grant,
                          {row.state, row.colour},
                          joined(row.addresses, ","),
                          row.mac,
                          std::to_string(row.id),
                          row.why});
  for (const ShownRefusal& each : refused)
    if (!each.listed)
      table.rows.push_back({each.refusal.name, "", "", {"refused", Colour::Bad}, "", "", "", "see below"});
  return render(table, style.colour) + refusals_text(refused, refusals.more);
}

}  // namespace grantd
