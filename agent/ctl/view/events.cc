#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include "crd-sync/problem.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>

namespace grantd {
namespace {

// Not of ARP, and of what was refused before it came to that: both are all zeros then, and no protocol is known.
bool addresses_read(const grantd_event& event) {
  const auto any = [](const grantd_address& address) {
    return std::any_of(std::begin(address.bytes), std::end(address.bytes), [](__u8 byte) { return byte != 0; });
  };
  return event.protocol != 0 || any(event.source) || any(event.destination);
}

}  // namespace

std::string show_event(const Snapshot& snapshot, const grantd_event& event, const Style& style) {
  const std::string grant = grant_name(snapshot, event.slot), guest = guest_name(snapshot, event.endpoint_id);
  const bool has_ends = addresses_read(event);
  const std::string source = has_ends ? end_text(event.source, event.source_port, event.protocol) : "";
  const std::string destination = has_ends ? end_text(event.destination, event.destination_port, event.protocol) : "";
  const std::string when = time_text(snapshot.clock.wall_of(event.time_ns));
  const bool too_early = event.reason == GRANTD_REASON_NOT_YET_VALID;
  if (style.output == Output::Json)
    return json_line({{"time", when},
                      {"grant", grant},
                      {"guest", guest},
                      {"direction", direction_name(event.direction)},
                      {"reason", reason_label(event.reason)},
                      {"starts_at", too_early ? start_json(snapshot, event.slot) : nullptr},
                      {"passes", reason_passes(event.reason)},
                      {"protocol", protocol_text(event.protocol)},
                      {"source", has_ends ? nlohmann::ordered_json(source) : nullptr},
                      {"destination", has_ends ? nlohmann::ordered_json(destination) : nullptr},
                      {"ethertype", event.ethertype},
                      {"bytes", event.wire_bytes},
                      {"packets_so_far", event.packets}});
  std::string line = when + "  " + grant + "  " + guest + "  " + direction_name(event.direction) + "  " +
                     reason_label(event.reason) + "  " +
                     (has_ends ? source + " -> " + destination : frame_text(event.ethertype));
  if (event.protocol) line += "  " + protocol_text(event.protocol);
  if (const std::string start = start_text(snapshot, event.slot); too_early && !start.empty())
    line += "  (starts " + start + ")";
  return escape_text(line, 1024) + "\n";
}

}  // namespace grantd
