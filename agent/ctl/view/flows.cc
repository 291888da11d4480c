#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include "maps/address.h"

#include <netinet/in.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <tuple>

namespace grantd {
namespace {

struct FlowRow {
  std::string grant, guest, local, peer, protocol, initiator, identity;
  bool current = false;  // its next packet follows it; else that is judged again
  std::uint64_t last_seen_ns = 0;
};

// Of a flow that the peer began also: nobody has lost an address since, and nobody else sent from the peer's.
bool is_current(const Snapshot& snapshot, const FlowEntry& entry) {
  const grantd_policy* policy = policy_in_force(snapshot, entry.slot);
  return policy && reason_passes(standing(snapshot, entry.slot)) &&
         snapshot.published.at(entry.slot) == entry.flow.policy_id &&
         snapshot.clock.boot_ns <=
             entry.flow.last_seen_ns + GRANTD_FLOW_IDLE_NS(entry.key.protocol, entry.flow.flags) &&
         (entry.flow.initiator == GRANTD_INITIATOR_GUEST || entry.flow.realm_epoch == policy->realm_epoch);
}

FlowRow row_of(const Snapshot& snapshot, const FlowEntry& entry) {
  FlowRow row;
  row.grant = grant_name(snapshot, entry.slot);
  row.guest = guest_name(snapshot, entry.key.endpoint_id);
  row.local = end_text(entry.key.local_address, entry.key.local_port, entry.key.protocol);
  row.peer = end_text(entry.key.peer_address, entry.key.peer_port, entry.key.protocol);
  row.protocol = protocol_text(entry.key.protocol);
  row.initiator = entry.flow.initiator == GRANTD_INITIATOR_GUEST ? "guest" : "peer";
  if (entry.flow.initiator == GRANTD_INITIATOR_PEER) row.identity = identity_name(snapshot, entry.flow.peer_identity);
  row.current = is_current(snapshot, entry);
  row.last_seen_ns = entry.flow.last_seen_ns;
  return row;
}

}  // namespace

std::string show_flows(const Snapshot& snapshot, const Filter& filter, const Style& style) {
  std::vector<FlowRow> rows;
  for (const FlowEntry& entry : snapshot.flows) {
    FlowRow row = row_of(snapshot, entry);
    if (filter.accepts_grant(row.grant) && (filter.guest.empty() || filter.guest == row.guest))
      rows.push_back(std::move(row));
  }
  std::sort(rows.begin(), rows.end(), [](const FlowRow& one, const FlowRow& other) {
    return std::tie(one.grant, one.guest, other.last_seen_ns, one.local, one.peer) <
           std::tie(other.grant, other.guest, one.last_seen_ns, other.local, other.peer);
  });
  const Clock& clock = snapshot.clock;
  if (style.output == Output::Json) {
    auto list = nlohmann::ordered_json::array();
    for (const FlowRow& row : rows)
      list.push_back({{"grant", row.grant},
                      {"guest", row.guest},
                      {"protocol", row.protocol},
                      {"local", row.local},
                      {"peer", row.peer},
                      {"initiator", row.initiator},
                      {"peer_identity", row.identity},
                      {"current", row.current},
                      {"last_seen", moment_json(clock, row.last_seen_ns)}});
    return json_text({{"flows", list}});
  }
  Table table;
  table.columns = {{"GRANT"}, {"GUEST"}, {"PROTOCOL"}, {"LOCAL"}, {"PEER"}, {"BEGUN BY"}, {"LAST SEEN"}, {"POLICY"}};
  table.when_empty = "No flow is known.";
  for (const FlowRow& row : rows)
    table.rows.push_back({row.grant, row.guest, row.protocol, row.local, row.peer,
                          row.identity.empty() ? row.initiator : row.initiator + " (" + row.identity + ")",
                          ago_text(row.last_seen_ns, clock.boot_ns),
                          row.current ? Cell("in force") : Cell("judged again", Colour::Warning)});
  return render(table, style.colour);
}

}  // namespace grantd
