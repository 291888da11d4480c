#include "tests/model/meaning.h"

#include <fnmatch.h>

#include <algorithm>
#include <stdexcept>

namespace grantd::model {
namespace {

bool bit(const IpAddress& address, int at) {
  return address.bytes[static_cast<std::size_t>(at / 8)] >> (7 - at % 8) & 1;
}

IpPrefix prefix(const char* text) { return IpPrefix::parse(text).value(); }

// Ranges that the IANA special-purpose registries mark as not globally reachable, and what is not unicast; then the
// exceptions inside of them that are.
bool globally_reachable(const IpAddress& address) {
  static const std::vector<IpPrefix> not_global = [] {
    std::vector<IpPrefix> all;
    for (const char* text :
         {"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
          "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
          "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"})
      all.push_back(prefix(text));
    return all;
  }();
  static const std::vector<IpPrefix> global = [] {
    std::vector<IpPrefix> all;
    for (const char* text : {"192.0.0.9/32", "192.0.0.10/32", "2001:1::1/128", "2001:1::2/128", "2001:1::3/128",
                             "2001:3::/32", "2001:4:112::/48", "2001:20::/28", "2001:30::/28"})
      all.push_back(prefix(text));
    return all;
  }();
  const auto covers = [&](const IpPrefix& each) { return inside(address, each); };
  if (std::any_of(global.begin(), global.end(), covers)) return true;
  if (address.family == Family::IPv6 && !inside(address, prefix("2000::/3"))) return false;
  return std::none_of(not_global.begin(), not_global.end(), covers);
}

bool tailnet_range(const IpPrefix& range) {
  return inside(range, prefix("100.64.0.0/10")) || inside(range, prefix("fd7a:115c:a1e0::/48"));
}

bool opens(const Destination& destination, unsigned protocol, unsigned port) {
  for (const PortRange& range : destination.ranges) {
    if (range.protocol != Protocol::Any && static_cast<unsigned>(range.protocol) != protocol) continue;
    if (protocol == kIcmp || (port >= range.low && port <= range.high)) return true;
  }
  return false;
}

}  // namespace

bool inside(const IpAddress& address, const IpPrefix& range) {
  if (address.family != range.address.family) return false;
  for (int at = 0; at < range.length; at++)
    if (bit(address, at) != bit(range.address, at)) return false;
  return true;
}

bool inside(const IpPrefix& inner, const IpPrefix& outer) {
  return inner.length >= outer.length && inside(inner.address, outer);
}

Meaning::Meaning(const DesiredState& desired, const NodeFacts& node, std::map<std::string, WallTime> notice_ends)
    : desired_(desired), node_(node), notice_ends_(std::move(notice_ends)) {
  protected_ = {prefix("127.0.0.0/8"), prefix("169.254.0.0/16"), prefix("::1/128"), prefix("fe80::/10")};
  protected_.insert(protected_.end(), node.pod_cidrs.begin(), node.pod_cidrs.end());
  protected_.insert(protected_.end(), node.service_cidrs.begin(), node.service_cidrs.end());
  protected_.insert(protected_.end(), node.local_routes.begin(), node.local_routes.end());
  for (const InterfaceFact& interface : node.interfaces)
    for (const IpAddress& address : interface.addresses) protected_.push_back({address, address.bits()});
}

const Workload* Meaning::guest_at(std::uint32_t ifindex) const {
  for (const Workload& guest : desired_.workloads)
    for (const InterfaceFact& interface : node_.interfaces)
      if (interface.name == guest.interface && interface.ifindex == ifindex) return &guest;
  return nullptr;
}

const Grant* Meaning::grant(const std::string& key) const {
  for (const Grant& each : desired_.grants)
    if (each.key() == key) return &each;
  return nullptr;
}

bool Meaning::owns(const Workload& guest, const IpAddress& address) {
  return std::find(guest.addresses.begin(), guest.addresses.end(), address) != guest.addresses.end();
}

IpAddress Meaning::link_local(const Workload& guest) {
  for (const IpAddress& address : guest.addresses)
    if (address.is_link_local()) return address;
  // EUI-64 of the MAC address (RFC 4862, RFC 2464).
  const auto& mac = guest.mac.value().bytes;
  IpAddress made;
  made.family = Family::IPv6;
  made.bytes = {0xfe,   0x80,   0,    0,    0,      0,      0,     0, static_cast<std::uint8_t>(mac[0] ^ 2),
                mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
  return made;
}

std::vector<IpAddress> Meaning::gateways(const Workload& guest) const {
  const auto& interfaces = node_.interfaces;
  const auto side = std::find_if(interfaces.begin(), interfaces.end(),
                                 [&](const InterfaceFact& each) { return each.name == guest.interface; });
  if (side == interfaces.end()) return {};
  std::vector<IpAddress> all = side->link_local;
  for (const InterfaceFact& each : interfaces) {
    if (each.ifindex != side->ifindex && each.ifindex != side->master) continue;
    for (const IpAddress& address : each.addresses)
      if (address.family == Family::IPv6) all.push_back(address);
  }
  return all;
}

bool Meaning::is_node(const IpAddress& address) const {
  for (const IpPrefix& route : node_.local_routes)
    if (inside(address, route)) return true;
  for (const InterfaceFact& interface : node_.interfaces)
    if (std::find(interface.addresses.begin(), interface.addresses.end(), address) != interface.addresses.end())
      return true;
  return false;
}

// Of nested realms the longest prefix wins.
const Realm* Meaning::realm_of(const IpAddress& address) const {
  const Realm* best = nullptr;
  int longest = -1;
  for (const Realm& realm : desired_.realms)
    for (const RealmAddress& each : realm.addresses)
      if (inside(address, each.prefix) && each.prefix.length > longest) {
        longest = each.prefix.length;
        best = &realm;
      }
  return best;
}

Who Meaning::owner(const IpAddress& address) const {
  if (is_node(address)) return "";
  for (const Workload& guest : desired_.workloads)
    if (owns(guest, address)) return grant_of(guest) ? guest.grant : "";
  const Realm* realm = realm_of(address);
  return realm ? realm->name : "";
}

Who Meaning::sender(const IpAddress& address, std::uint32_t ifindex) const {
  // A guest of this node, and the node itself, never come in from outside.
  if (is_node(address)) return "";
  for (const Workload& guest : desired_.workloads)
    if (owns(guest, address)) return "";
  const Realm* realm = realm_of(address);
  if (!realm) return "";
  const UplinkRule* rule = rule_at(ifindex);
  if (!rule) return "";
  if (!realm->uplinks.empty())
    return std::find(realm->uplinks.begin(), realm->uplinks.end(), rule->uplink_class) != realm->uplinks.end()
               ? realm->name
               : "";
  // By its own default: each prefix by where it lies.
  const RealmAddress* longest = nullptr;
  for (const RealmAddress& each : realm->addresses)
    if (inside(address, each.prefix) && (!longest || each.prefix.length > longest->prefix.length)) longest = &each;
  const UplinkClass believed = tailnet_range(longest->prefix) ? UplinkClass::Tailnet : UplinkClass::Lan;
  return rule->uplink_class == believed ? realm->name : "";
}

// The first that fits; where there is one, from_uplink stands there.
const UplinkRule* Meaning::rule_at(std::uint32_t ifindex) const {
  for (const InterfaceFact& interface : node_.interfaces) {
    if (interface.ifindex != ifindex) continue;
    for (const UplinkRule& rule : node_.uplink_rules)
      if (fnmatch(rule.interface_glob.c_str(), interface.name.c_str(), 0) == 0) return &rule;
  }
  return nullptr;
}

MaybeReason Meaning::may_send(const Grant& grant, const IpAddress& to, unsigned protocol, unsigned port) const {
  const Who whose = owner(to);
  const bool same_grant =
      std::find(grant.ingress_from.begin(), grant.ingress_from.end(), Party::SameGrant) != grant.ingress_from.end();
  if (whose == grant.grantee_realm) return {};
  if (whose == grant.key() && same_grant) return {};
  bool named = false, open = false;
  if (grant.egress_allowed && !grant.revoked) {
    for (const Destination& destination : grant.destinations) {
      bool covers = false;
      switch (destination.kind) {
        case Destination::Kind::Realm:
          covers = !whose.empty() && whose == destination.name;
          break;
        case Destination::Kind::Prefix:
          covers = inside(to, destination.prefix);
          break;
        case Destination::Kind::Internet:
          covers = globally_reachable(to);
          break;
        case Destination::Kind::Service:
          break;  // nobody resolves it without a cluster
      }
      if (!covers) continue;
      bool lies_inside = true;
      if (destination.kind != Destination::Kind::Realm) {
        for (const IpPrefix& range : protected_)
          if (inside(to, range) &&
              (destination.kind == Destination::Kind::Internet || !inside(destination.prefix, range)))
            lies_inside = false;
      }
      if (!lies_inside) continue;
      named = true;
      open = open || opens(destination, protocol, port);
    }
  }
  if (open) return {};
  if (named) return GRANTD_REASON_DESTINATION_PORT;
  for (const IpPrefix& range : protected_)
    if (inside(to, range)) return GRANTD_REASON_PROTECTED_DESTINATION;
  return GRANTD_REASON_DESTINATION;
}

MaybeReason Meaning::may_receive(const Grant& grant, const Who& from) const {
  const auto lets_in = [&](Party party) {
    return std::find(grant.ingress_from.begin(), grant.ingress_from.end(), party) != grant.ingress_from.end();
  };
  if (from.empty()) return GRANTD_REASON_NOBODY;
  if (from == grant.grantee_realm) return {};
  if (from == grant.grantor_realm && lets_in(Party::Grantor)) return {};
  if (from == kLocalNode && lets_in(Party::LocalNode)) return {};
  if (from == grant.key() && lets_in(Party::SameGrant)) return {};
  return GRANTD_REASON_NOT_A_PARTY;
}

MaybeReason Meaning::out_of_time(const Grant& grant, WallTime now) const {
  if (grant.revoked && now >= notice_ends_.at(grant.key())) return GRANTD_REASON_REVOKED;
  if (grant.valid_until && now >= *grant.valid_until) return GRANTD_REASON_EXPIRED;
  if (grant.valid_from && now < *grant.valid_from) return GRANTD_REASON_NOT_YET_VALID;
  return {};
}

}  // namespace grantd::model
