#include "agent/ctl/view/common.h"
#include "agent/ctl/view/units.h"
#include "agent/ctl/view/views.h"

#include "crd-sync/problem.h"

#include <nlohmann/json.hpp>

namespace grantd {

std::string show_event(const Snapshot& snapshot, const grantd_event& event, const Style& style) {
  const std::string grant = grant_name(snapshot, event.slot), guest = guest_name(snapshot, event.endpoint_id);
  const std::string source = end_text(event.source, event.source_port, event.protocol);
  const std::string destination = end_text(event.destination, event.destination_port, event.protocol);
  const std::string when = time_text(snapshot.clock.wall_of(event.time_ns));
  if (style.output == Output::Json)
    return json_line({{"time", when},
                      {"grant", grant},
                      {"guest", guest},
                      {"direction", direction_name(event.direction)},
                      {"reason", reason_label(event.reason)},
                      {"passes", reason_passes(event.reason)},
                      {"protocol", protocol_text(event.protocol)},
                      {"source", source},
                      {"destination", destination},
                      {"ethertype", event.ethertype},
                      {"bytes", event.wire_bytes},
                      {"packets_so_far", event.packets}});
  std::string line = when + "  " + grant + "  " + guest + "  " + direction_name(event.direction) + "  " +
                     reason_label(event.reason) + "  " + source + " -> " + destination;
  if (event.protocol) line += "  " + protocol_text(event.protocol);
  return escape_text(line, 1024) + "\n";
}

}  // namespace grantd
