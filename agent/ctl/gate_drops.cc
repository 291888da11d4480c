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
  return endpoint == snapshot.endpoints.end() ? guest_name(snapshot, 0) : grant_name(snapshot, endpoint->second.slot);
}

std::string grant_of(const Snapshot& snapshot, const IpAddress& address) {
  const auto endpoint = std::ranges::find_if(snapshot.endpoints, [&](const auto& each) {
    const auto own = used_addresses(each.second);
    return std::ranges::find(own, address) != own.end();
  });
  return endpoint == snapshot.endpoints.end() ? guest_name(snapshot, 0) : grant_name(snapshot, endpoint->second.slot);
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
