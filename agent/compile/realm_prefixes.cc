#include "agent/compile/realm_prefixes.h"

#include "agent/compile/special_prefixes.h"
#include "crd-sync/element_path.h"

#include <algorithm>
#include <map>
#include <set>

namespace grantd {

namespace {

constexpr std::uint8_t kClasses[] = {GRANTD_UPLINK_DESTINATION, GRANTD_UPLINK_TAILNET, GRANTD_UPLINK_LAN,
                                     GRANTD_UPLINK_OVERLAY};

// One class of uplinks, or the destinations: prefix -> whose.
using Table = std::map<IpPrefix, IdentityName>;

const IdentityName kNobody{};

IpPrefix host_prefix(const IpAddress& address) { return {address, address.bits()}; }

// The range that a realm's prefix may not overlap; node addresses are carved out instead.
const IpPrefix* forbidden(const IpPrefix& prefix, const NodeFacts& node) {
  for (const auto* ranges : {&always_protected(), &node.pod_cidrs, &node.service_cidrs})
    for (const IpPrefix& range : *ranges)
      if (range.overlaps(prefix)) return &range;
  return nullptr;
}

// Sorted by address, then by length: what a prefix contains follows it.
void erase_inside(Table& table, const IpPrefix& prefix) {
  auto each = table.lower_bound(prefix);
  while (each != table.end() && prefix.contains(each->first)) each = table.erase(each);
}

// Whether a wider prefix of the table contains this one. Walks the lengths, not the table.
bool inside_a_wider_one(const Table& table, const IpPrefix& prefix) {
  IpPrefix wider = prefix;
  while (wider.length > 0) {
    wider.length--;
    const auto byte = static_cast<std::size_t>(wider.length / 8);
    wider.address.bytes[byte] = static_cast<std::uint8_t>(wider.address.bytes[byte] & (0xff00U >> (wider.length % 8)));
    if (table.contains(wider)) return true;
  }
  return false;
}

}  // namespace

std::vector<UplinkClass> believed_on(const Realm& realm, const IpPrefix& prefix) {
  if (!realm.uplinks.empty()) return realm.uplinks;
  return {is_tailnet_prefix(prefix) ? UplinkClass::Tailnet : UplinkClass::Lan};
}

std::vector<IpPrefix> node_addresses(const NodeFacts& node) {
  std::set<IpPrefix> all(node.local_routes.begin(), node.local_routes.end());
  for (const InterfaceFact& each : node.interfaces)
    for (const IpAddress& address : each.addresses) all.insert(host_prefix(address));
  return {all.begin(), all.end()};
}

std::vector<IpPrefix> protected_ranges(const NodeFacts& node) {
  std::vector<IpPrefix> all = always_protected();
  all.insert(all.end(), node.pod_cidrs.begin(), node.pod_cidrs.end());
  all.insert(all.end(), node.service_cidrs.begin(), node.service_cidrs.end());
  const auto addresses = node_addresses(node);
  all.insert(all.end(), addresses.begin(), addresses.end());
  return all;
}

std::vector<CompiledPrefix> realm_prefixes(const DesiredState& desired, const std::vector<CompiledEndpoint>& endpoints,
                                           const std::map<IpAddress, std::string>& elsewhere, const NodeFacts& node,
                                           std::vector<Problem>& problems) {
  std::map<std::uint8_t, Table> tables;
  // Belong to somebody else than the realm around them.
  std::set<IpPrefix> holes;
  for (const RefusedPrefix& each : desired.nobodys) holes.insert(each.prefix);
  for (const Realm& realm : desired.realms) {
    const IdentityName identity{IdentityName::Kind::Realm, realm.name};
    if (!realm.tailnet.empty())
      problems.push_back({Severity::Warning, realm.position, "Realm " + realm.name, "spec.tailnet", "",
                          "names of a tailnet are not looked up; they stand for no address", ""});
    for (std::size_t index = 0; index < realm.addresses.size(); index++) {
      const RealmAddress& address = realm.addresses[index];
      if (const IpPrefix* range = forbidden(address.prefix, node)) {
        problems.push_back({Severity::Error, address.position, "Realm " + realm.name,
                            element_path("spec.addresses", index), address.prefix.text(),
                            "overlaps the protected range " + range->text() + " of this node; nobody is believed there",
                            "a prefix outside of the pod and service ranges, link-local and loopback"});
        continue;
      }
      tables[GRANTD_UPLINK_DESTINATION][address.prefix] = identity;
      for (UplinkClass uplink_class : believed_on(realm, address.prefix))
        tables[static_cast<std::uint8_t>(uplink_class)][address.prefix] = identity;
      holes.insert(address.prefix);
    }
  }
  for (const auto& [address, grant] : elsewhere)
    for (const std::uint8_t uplink_class : {GRANTD_UPLINK_DESTINATION, GRANTD_UPLINK_OVERLAY})
      tables[uplink_class][host_prefix(address)] = {IdentityName::Kind::Grant, grant};
  for (const IpPrefix& own : node_addresses(node)) {
    for (auto& [uplink_class, table] : tables) erase_inside(table, own);
    holes.insert(own);
  }
  for (const CompiledEndpoint& endpoint : endpoints)
    for (const IpAddress& address : endpoint.addresses) {
      const IpPrefix own = host_prefix(address);
      for (auto& [uplink_class, table] : tables) table.erase(own);
      if (!endpoint.grant.empty()) tables[GRANTD_UPLINK_DESTINATION][own] = {IdentityName::Kind::Grant, endpoint.grant};
      holes.insert(own);
    }
  // The longest prefix wins on every class, also where its owner is not believed.
  std::vector<CompiledPrefix> result;
  for (std::uint8_t uplink_class : kClasses) {
    Table& table = tables[uplink_class];
    std::vector<IpPrefix> missing;
    for (const IpPrefix& hole : holes)
      if (!table.contains(hole) && inside_a_wider_one(table, hole)) missing.push_back(hole);
    for (const IpPrefix& hole : missing) table[hole] = kNobody;
    for (const auto& [prefix, identity] : table) result.push_back({uplink_class, prefix, identity});
  }
  return result;
}

std::optional<PrefixTaker> largest_taker(const DesiredState& desired, const std::vector<CompiledPrefix>& prefixes) {
  std::map<std::string, PrefixTaker> takers;
  struct Need {
    PrefixTaker* taker;
    bool apart;
  };
  std::map<IpPrefix, Need> needs;
  const auto need = [&](const IpPrefix& prefix, const std::string& object, const SourcePosition& position, bool apart) {
    const auto taker = takers.try_emplace(object, PrefixTaker{object, position}).first;
    needs.try_emplace(prefix, Need{&taker->second, apart});
  };
  for (const Realm& realm : desired.realms)
    for (const RealmAddress& address : realm.addresses)
      need(address.prefix, "Realm " + realm.name, realm.position, false);
  for (const RefusedPrefix& each : desired.nobodys) need(each.prefix, each.object, each.position, true);
  for (const CompiledPrefix& each : prefixes) {
    const auto needed = needs.find(each.prefix);
    if (needed == needs.end() || each.identity.kind == IdentityName::Kind::Grant) continue;
    needed->second.taker->entries++;
    needed->second.taker->apart += needed->second.apart;
  }
  const auto largest = std::max_element(takers.begin(), takers.end(), [](const auto& one, const auto& other) {
    return one.second.entries < other.second.entries;
  });
  if (largest == takers.end() || largest->second.entries == 0) return std::nullopt;
  return largest->second;
}

}  // namespace grantd
