#include "tests/model/world.h"

#include "crd-sync/admission.h"

#include <algorithm>
#include <memory>
#include <set>
#include <stdexcept>

namespace grantd::model {
namespace {

// Where things stand: few places, near to each other, so that they meet.
constexpr const char* kBases4[] = {"198.51.100.7",    "203.0.113.9", "192.0.2.77",  "10.42.8.1",  "10.42.0.1",
                                   "10.43.0.10",      "8.8.8.8",     "10.20.0.3",   "100.64.7.9", "198.51.100.200",
                                   "169.254.169.254", "10.99.0.1",   "192.168.1.1", "192.0.0.9",  "198.51.100.66"};
constexpr const char* kBases6[] = {
    "2001:db8:be::7", "2001:db8:b0b::10", "2001:db8:b0b:1::9",     "2600::7",          "fd00:42::8", "fd00:43::a",
    "fd00:20::3",     "2001:db8:be::200", "fd7a:115c:a1e0:b0b::9", "64:ff9b::808:808", "2001:20::1", "2001::9",
    "fd00:99::1"};
constexpr int kLengths4[] = {0, 8, 16, 20, 24, 24, 25, 26, 30, 31, 32, 32, 32};
constexpr int kLengths6[] = {0, 3, 16, 32, 48, 48, 56, 64, 64, 96, 112, 127, 128, 128};
constexpr const char* kRealmPrefixes[] = {
    "192.0.2.0/24",        "192.0.2.0/25",        "192.0.2.64/26",  "192.0.2.77/32",
    "203.0.113.0/24",      "203.0.113.8/29",      "100.64.7.0/24",  "100.64.0.0/16",
    "100.64.7.9/32",       "192.168.0.0/16",      "192.168.1.0/24", "198.51.100.0/24",
    "2001:db8:b0b::/48",   "2001:db8:b0b:1::/64", "2001:db8::/32",  "fd7a:115c:a1e0:b0b::/64",
    "fd7a:115c:a1e0::/48", "2001:db8:be::/48"};
constexpr const char* kUplinkNames[] = {"lan", "tailnet", "overlay"};
constexpr const char* kParties[] = {"Grantor", "LocalNode", "SameGrant"};
constexpr const char* kAddresses[][3] = {{"10.20.0.2", "fd00:20::2", "10.42.0.2"},
                                         {"10.20.0.3", "fd00:20::3", "fd00:42::3"},
                                         {"10.20.0.4", "fd00:20::4", "192.0.2.70"},
                                         {"10.20.0.5", "fd00:20::5", "10.42.0.5"}};

std::string canonical(const char* base, int length) {
  IpPrefix made{IpAddress::parse(base).value(), length};
  for (int at = length; at < made.address.bits(); at++)
    made.address.bytes[static_cast<std::size_t>(at / 8)] &= static_cast<std::uint8_t>(~(0x80 >> (at % 8)));
  return made.text();
}

std::string quoted(const std::string& text) { return "\"" + text + "\""; }

std::string list(const std::vector<std::string>& all) {
  std::string text;
  for (const std::string& each : all) text += (text.empty() ? "" : ", ") + quoted(each);
  return "[" + text + "]";
}

std::string time_fields(Time time) {
  switch (time) {
    case Time::Now:
      return "";
    case Time::Ended:
      return ", validity: {validUntil: \"2020-01-01T00:00:00Z\"}";
    case Time::NotBegun:
      return ", validity: {validFrom: \"2120-01-01T00:00:00Z\"}";
    case Time::Revoked:
      return ", revoked: true";
    default:
      return ", revoked: true, revocation: {noticePeriodSeconds: 3600}";
  }
}

std::vector<std::string> some(Random& random, const char* const* all, std::size_t count, unsigned chance) {
  std::vector<std::string> chosen;
  for (std::size_t at = 0; at < count; at++)
    if (random.percent(chance)) chosen.emplace_back(all[at]);
  return chosen;
}

void give_addresses(Random& random, World& world, RealmSpec& realm) {
  std::set<std::string> taken;
  for (const RealmSpec& each : world.realms) taken.insert(each.addresses.begin(), each.addresses.end());
  realm.addresses.clear();
  for (std::size_t tries = 1 + random.below(4); tries > 0; tries--) {
    const std::string chosen = random.of(kRealmPrefixes);
    if (taken.insert(chosen).second) realm.addresses.push_back(chosen);
  }
}

std::vector<std::string> parties(Random& random) {
  if (random.percent(60)) return {};
  auto chosen = some(random, kParties, std::size(kParties), 50);
  chosen.insert(chosen.begin(), "Grantee");
  return chosen;
}

Time some_time(Random& random) {
  return random.percent(85) ? Time::Now
                            : random.of({Time::Ended, Time::NotBegun, Time::Revoked, Time::Notice, Time::Notice});
}

}  // namespace

std::string guest_mac(const std::string& name) { return "02:20:00:00:00:0" + name; }

std::string manifests(const World& world) {
  std::string text;
  const std::string head = "---\n{apiVersion: keystone.io/v1alpha1, kind: ";
  for (const RealmSpec& realm : world.realms)
    text += head + "Realm, metadata: {name: " + realm.name + "}, spec: {identity: " + realm.name + ".example.net" +
            ", addresses: " + list(realm.addresses) +
            (realm.uplinks.empty() ? "" : ", uplinks: " + list(realm.uplinks)) + "}}\n";
  for (const GrantSpec& grant : world.grants) {
    text += head + "Grant, metadata: {name: " + grant.name + ", namespace: ns}, spec: {grantorRealm: " + grant.grantor +
            ", granteeRealm: " + grant.grantee;
    if (!grant.bandwidth.empty())
      text += ", hard: {keystone.io/egress-bandwidth: " + quoted(grant.bandwidth) +
              ", keystone.io/ingress-bandwidth: " + quoted(grant.bandwidth) +
              "}, bandwidth: {egressBurst: " + quoted(grant.burst) + ", ingressBurst: " + quoted(grant.burst) + "}";
    text += std::string(", networkPolicy: {egressAllowed: ") + (grant.egress_allowed ? "true" : "false") +
            ", allowedDestinations: " + list(grant.destinations);
    if (!grant.from.empty()) text += ", ingress: {from: " + list(grant.from) + "}";
    text += "}" + time_fields(grant.time) + "}}\n";
  }
  for (const GuestSpec& guest : world.guests)
    text += head + "Workload, metadata: {name: " + guest.name + "}, spec: {grantName: ns/" + guest.grant +
            ", interface: veth-" + guest.name + ", mac: " + quoted(guest_mac(guest.name)) +
            ", addresses: " + list(guest.addresses) + "}}\n";
  return text;
}

DesiredState read_manifests_text(const std::string& text, const std::string& suffix) {
  const auto read = std::make_shared<ReadResult>(read_manifests({"model.yaml", text, 1, 1}));
  DesiredState desired = admit({read}, {}).desired;
  for (const Problem& problem : desired.problems)
    if (problem.severity == Severity::Error) throw std::runtime_error(problem.text() + "\n" + text);
  for (Grant& grant : desired.grants) grant.name += suffix;
  for (Workload& guest : desired.workloads) guest.grant += suffix;
  return desired;
}

DesiredState read_world(const World& world, const std::string& suffix) {
  return read_manifests_text(manifests(world), suffix);
}

DesiredState with_edge(DesiredState desired, const std::string& grant, Edge edge, WallTime when) {
  for (Grant& each : desired.grants) {
    if (each.name != grant) continue;
    each.spec_hash += std::to_string(when.time_since_epoch().count());  // by which a node remembers what has ended
    if (edge == Edge::EndOfNotice) {
      each.revoked = true;
      each.notice_period = kNotice;
      each.valid_from = each.valid_until = std::nullopt;
    } else {
      (edge == Edge::End ? each.valid_until : each.valid_from) = when;
    }
  }
  return desired;
}

std::string random_destination(Random& random, const World& world) {
  static const std::string ports[] = {
      ":443/TCP", ":443", ":53/UDP", ":5000-5010/UDP", ":80/TCP",   ":ICMP",      ":9999/SCTP", ":1-65535",
      "",         "",     ":80-90",  ":7000-7001/TCP", ":5353/UDP", ":67-68/UDP", ":443-444"};
  const std::string& port = random.of(ports);
  switch (random.below(12)) {
    case 0:
      return "internet" + port;
    case 1:
    case 2:
      return (random.percent(50) || !port.empty() ? "realm:" : "") + random.of(world.realms).name + port;
    case 3:
    case 4:
    case 5:
    case 6: {
      const std::string host = canonical(random.of(kBases6), random.of(kLengths6));
      return port.empty() ? host : "[" + host + "]" + port;
    }
    default:
      return canonical(random.of(kBases4), random.of(kLengths4)) + port;
  }
}

World random_world(Random& random) {
  World world;
  for (const char* name : {"alice", "bob", "carol", "dave"}) {
    RealmSpec realm;
    realm.name = name;
    while (realm.addresses.empty()) give_addresses(random, world, realm);
    if (random.percent(30)) realm.uplinks = some(random, kUplinkNames, std::size(kUplinkNames), 60);
    world.realms.push_back(realm);
  }
  for (const char* name : {"g0", "g1", "g2"}) {
    GrantSpec grant;
    grant.name = name;
    grant.grantor = "alice";
    grant.grantee = random.of({"bob", "bob", "carol"});
    grant.egress_allowed = random.percent(90);
    for (std::size_t count = random.below(8); count > 0; count--) {
      const std::string made = random_destination(random, world);
      if (std::find(grant.destinations.begin(), grant.destinations.end(), made) == grant.destinations.end())
        grant.destinations.push_back(made);
    }
    grant.from = parties(random);
    grant.time = some_time(random);
    if (random.percent(10)) change_limit(random, grant);
    world.grants.push_back(grant);
  }
  for (std::size_t at = 0; at < std::size(kGuests); at++) {
    GuestSpec guest;
    guest.name = kGuests[at];
    guest.grant = at == 3 ? (random.percent(20) ? "none" : "g2") : at == 2 ? "g1" : "g0";
    guest.addresses = {kAddresses[at][0], kAddresses[at][1]};
    if (random.percent(30)) guest.addresses.emplace_back(kAddresses[at][2]);
    world.guests.push_back(guest);
  }
  return world;
}

World random_narrow_world(Random& random) {
  World world = random_world(random);
  for (GrantSpec& grant : world.grants) {
    grant.egress_allowed = true;
    grant.destinations.insert(grant.destinations.end(), {"0.0.0.0/0", "::/0"});
    grant.time = Time::Now;
    grant.bandwidth = random.of({"8k", "8k", "64k"});
  }
  return world;
}

// The smallest burst that the readers admit is 128Ki.
void change_limit(Random& random, GrantSpec& grant) {
  grant.bandwidth = random.of({"", "8k", "64k", "1M", "10G"});
  grant.burst = random.of({"128Ki", "128Ki", "131073", "200Ki"});
}

// A guest loses an address, or gets one that nobody has: its own of before, or one that another had.
void change_addresses(Random& random, World& world) {
  GuestSpec& guest = random.of(world.guests);
  if (guest.addresses.size() > 1 && random.percent(50)) {
    guest.addresses.erase(guest.addresses.begin() + static_cast<std::ptrdiff_t>(random.below(guest.addresses.size())));
    return;
  }
  std::vector<std::string> free;
  for (const auto& all : kAddresses)
    for (const char* address : all)
      if (std::none_of(world.guests.begin(), world.guests.end(), [&](const GuestSpec& each) {
            return std::find(each.addresses.begin(), each.addresses.end(), address) != each.addresses.end();
          }))
        free.emplace_back(address);
  if (!free.empty()) guest.addresses.push_back(random.of(free));
}

void change_world(Random& random, World& world) {
  GrantSpec& grant = world.grants[random.below(world.grants.size())];
  RealmSpec& realm = world.realms[random.below(world.realms.size())];
  switch (random.below(14)) {
    case 0:
    case 1:
      grant.destinations.push_back(random_destination(random, world));
      if (grant.destinations.size() > 7) grant.destinations.erase(grant.destinations.begin());
      break;
    case 2:
    case 3:
      if (!grant.destinations.empty())
        grant.destinations.erase(grant.destinations.begin() +
                                 static_cast<std::ptrdiff_t>(random.below(grant.destinations.size())));
      break;
    case 4:
      grant.from = parties(random);
      break;
    case 5:
      grant.time = grant.time == Time::Now ? some_time(random) : Time::Now;
      break;
    case 6:
      realm.addresses.clear();
      while (realm.addresses.empty()) give_addresses(random, world, realm);
      break;
    case 7:
      grant.egress_allowed = !grant.egress_allowed;
      break;
    case 8:
      change_limit(random, grant);
      break;
    case 9:
      realm.uplinks = some(random, kUplinkNames, std::size(kUplinkNames), 60);
      break;
    case 10:
    case 11:
    case 12:
      change_addresses(random, world);
      break;
    default:
      world.guests[random.below(world.guests.size())].grant = random.of({"g0", "g1", "g2", "none"});
  }
  std::sort(grant.destinations.begin(), grant.destinations.end());
  grant.destinations.erase(std::unique(grant.destinations.begin(), grant.destinations.end()), grant.destinations.end());
}

}  // namespace grantd::model
