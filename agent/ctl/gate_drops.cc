#include "agent/ctl/gate_drops.h"

#include "agent/gate/gate.h"
#include "agent/plan/encode.h"

#include <algorithm>
#include <map>
#include <utility>

namespace grantd {

namespace {

std::string grant_of(const Snapshot& snapshot, const GatedInterface& interface) {
  const auto endpoint = snapshot.endpoints.find(interface.ifindex);
  if (endpoint == snapshot.endpoints.end()) return guest_name(snapshot, 0);
  const auto guest = snapshot.guests.find(endpoint->second.endpoint_id);
  // The index may be another interface's by now.
  const bool same = guest != snapshot.guests.end() && text_of(guest->second.interface) == interface.name;
  return same ? grant_name(snapshot, endpoint->second.slot) : guest_name(snapshot, 0);
}

// In quarantine nobody has an address at the gate; what a guest had before may be another's.
std::string grant_of(const Snapshot& snapshot, const IpAddress& address) {
  for (const auto& [ifindex, endpoint] : snapshot.endpoints) {
    const auto own = used_addresses(endpoint);
    if (endpoint.slot != 0 && std::ranges::find(own, address) != own.end()) return grant_name(snapshot, endpoint.slot);
  }
  return guest_name(snapshot, 0);
}

}  // namespace

Result<std::vector<GateDrop>> read_gate_drops(const std::string& pin_root, const Snapshot& snapshot) {
  auto dropped = Gate(pin_root, snapshot.node.stamp_mask).read_dropped();
  if (!dropped) return dropped.error();
  std::map<std::pair<std::string, const char*>, std::uint64_t> packets;
  for (const auto& [interface, count] : dropped.value().unjudged)
    packets[{grant_of(snapshot, interface), "unjudged"}] += count;
  for (const auto& [address, count] : dropped.value().forged) packets[{grant_of(snapshot, address), "forged"}] += count;
  std::vector<GateDrop> drops;
  for (const auto& [whose, count] : packets) drops.push_back({whose.first, whose.second, count});
  return drops;
}

}  // namespace grantd
