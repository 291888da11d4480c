// One function a subcommand: a snapshot in, text out. Pure.
#pragma once

#include "agent/ctl/view/page.h"
#include "agent/handover/refusals.h"
#include "agent/snapshot/snapshot.h"
#include "maps/result.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

// Rows that remain; empty: all.
struct Filter {
  std::string grant;  // NAMESPACE/NAME, or NAME alone
  std::string guest;
  std::string reason;  // a label
  bool accepts_grant(const std::string& name) const;
  // Fails where it names a Grant or a guest of which the maps know nothing, and which was not refused either.
  Result<void> names_known(const Snapshot& snapshot, const Refusals& refusals = {}) const;
};

Error not_known(const std::string& what, const std::set<std::string>& known);

// Of a guest's, at the gate (decision 69), which knows neither when nor how large.
struct GateDrop {
  std::string grant;
  const char* reason = "";  // of gate_reasons()
  std::uint64_t packets = 0;
};
// Of what passes the programs by. A sentence for each.
const std::map<std::string, std::string>& gate_reasons();

// What is known of the agent besides the maps.
struct AgentSign {
  std::string pin_root;
  bool running = false;                                  // a process of that number and name exists
  std::map<std::uint32_t, std::string> interfaces = {};  // names, of those uplinks that are there
  Refusals refusals = {};
};

std::string show_status(const Snapshot& snapshot, const AgentSign& agent, const Style& style);
// With what was refused: a row of its own where nothing of it is in force.
std::string show_grants(const Snapshot& snapshot, const Refusals& refusals, const Filter& filter, const Style& style);
std::string show_endpoints(const Snapshot& snapshot, const Refusals& refusals, const Filter& filter,
                           const Style& style);
// With what the gate behind the programs has dropped.
std::string show_drops(const Snapshot& snapshot, const std::vector<GateDrop>& gate_drops, const Filter& filter,
                       const Style& style);
std::string show_flows(const Snapshot& snapshot, const Filter& filter, const Style& style);
// Rates between two looks at the counters.
std::string show_top(const Snapshot& before, const Snapshot& after, const Filter& filter, const Style& style);
// One line; `snapshot` gives the names.
std::string show_event(const Snapshot& snapshot, const grantd_event& event, const Style& style);

}  // namespace grantd
