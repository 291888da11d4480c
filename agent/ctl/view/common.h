// What several views say in the same words.
#pragma once

#include "agent/ctl/view/table.h"
#include "agent/handover/refusals.h"
#include "agent/snapshot/snapshot.h"
#include "maps/address.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace grantd {

// "active", "quarantine", "not_yet_valid", "expired", "revoked", "policy_missing": see standing().
std::string state_name(grantd_reason standing);
Colour state_colour(grantd_reason standing);

std::vector<std::string> addresses_of(const grantd_endpoint& endpoint);  // its used_addresses() as texts
std::string joined(const std::vector<std::string>& texts, const char* between);
std::string position_text(const std::string& file, std::uint32_t line);  // "FILE:LINE"; "" without a file

// "TCP", ...; its number where the datapath knows no name, "" for 0.
std::string protocol_text(std::uint8_t protocol);
// "ADDRESS:PORT", "[ADDRESS]:PORT"; the address alone without a port, and for ICMP, whose echo id is none.
std::string end_text(const grantd_address& address, std::uint16_t port, std::uint8_t protocol);

// What a frame carries, where its addresses were not read: "ARP", "VLAN", "ethertype 0x88cc".
std::string frame_text(std::uint16_t ethertype);

// When the Grant of this slot begins, where that lies ahead: "2026-01-01T02:00:00Z, in 2 h"; "" for all others.
std::string start_text(const Snapshot& snapshot, std::uint32_t slot);
nlohmann::ordered_json start_json(const Snapshot& snapshot, std::uint32_t slot);  // the moment, or null

// What a view shows of what was refused: those of one kind that its filter accepts.
struct ShownRefusal {
  Refusal refusal;
  bool listed = false;    // it has a row
  bool in_force = false;  // an older version is
};
// Under a table: "Refused: ..." and a line for each; "" where there is none.
std::string refusals_text(const std::vector<ShownRefusal>& shown, std::uint64_t more);
nlohmann::ordered_json refusals_json(const std::vector<ShownRefusal>& shown, const char* name_field);

// null where the moment is not known (0).
nlohmann::ordered_json moment_json(const Clock& clock, std::uint64_t boot_time_ns);

}  // namespace grantd
