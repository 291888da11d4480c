#include "agent/ctl/explain/ends.h"

#include "agent/ctl/view/common.h"
#include "agent/ctl/view/views.h"
#include "agent/plan/encode.h"
#include "maps/fixed_text.h"

#include <set>

namespace grantd {
namespace {

std::optional<IpAddress> first_of(const grantd_endpoint& endpoint, Family family) {
  for (const IpAddress& address : used_addresses(endpoint))
    if (address.family == family) return address;
  return std::nullopt;
}

// A guest may have had another interface before, which stands there in quarantine until it is gone.
bool none_but_abandoned(const grantd_endpoint* found) { return !found || found->slot == 0; }

Result<ResolvedEnd> find_guest(const Snapshot& snapshot, const std::string& name) {
  const grantd_endpoint* found = nullptr;
  bool on_host = false;
  for (const auto& [id, guest] : snapshot.guests) {
    if (text_of(guest.guest) != name) continue;
    for (const auto& [ifindex, endpoint] : snapshot.endpoints)
      if (endpoint.endpoint_id == id && none_but_abandoned(found)) found = &endpoint;
    for (const auto& [cgroup, endpoint] : snapshot.host_guests) on_host = on_host || endpoint.endpoint_id == id;
  }
  if (found) return ResolvedEnd{name, found, {}};
  if (on_host) return Error{"guest " + name + " is on the host network: no interface holds it", 0};
  std::set<std::string> known;
  for (const auto& [id, guest] : snapshot.guests) known.insert(text_of(guest.guest));
  return not_known("guest " + name, known);
}

Result<ResolvedEnd> resolve(const Snapshot& snapshot, const End& end) {
  if (!end.guest.empty()) return find_guest(snapshot, end.guest);
  const grantd_endpoint* found = nullptr;
  for (const auto& [ifindex, endpoint] : snapshot.endpoints)
    for (const IpAddress& own : used_addresses(endpoint))
      if (own == *end.address && none_but_abandoned(found)) found = &endpoint;
  return ResolvedEnd{found ? guest_name(snapshot, found->endpoint_id) : "", found, *end.address};
}

Result<void> settle_address(ResolvedEnd& end, Family family) {
  auto address = first_of(*end.endpoint, family);
  if (!address)
    return Error{"guest " + end.guest + " has no IPv" + std::to_string(static_cast<int>(family)) + " address", 0};
  end.address = *address;
  return {};
}

}  // namespace

Result<ResolvedEnds> resolve_ends(const Snapshot& snapshot, const End& source, const End& destination) {
  auto from = resolve(snapshot, source);
  if (!from) return from.error();
  auto to = resolve(snapshot, destination);
  if (!to) return to.error();
  ResolvedEnds ends{std::move(from).value(), std::move(to).value()};
  Family family = Family::IPv4;
  if (source.address)
    family = source.address->family;
  else if (destination.address)
    family = destination.address->family;
  else if (!first_of(*ends.source.endpoint, family) || !first_of(*ends.destination.endpoint, family))
    family = Family::IPv6;
  if (!source.address)
    if (auto settled = settle_address(ends.source, family); !settled) return settled.error();
  if (!destination.address)
    if (auto settled = settle_address(ends.destination, family); !settled) return settled.error();
  return ends;
}

}  // namespace grantd
