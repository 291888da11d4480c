// Addresses and ports worth trying in a world: those that its manifests name, and their neighbours.
#include "tests/model/steps.h"

#include "crd-sync/destination.h"

namespace grantd::model {
namespace {

// The first and the last address of a prefix, those beside it, and one inside.
std::vector<IpAddress> around(const IpPrefix& prefix) {
  const auto step = [](IpAddress address, int by) {
    for (int at = address.bits() / 8 - 1; at >= 0; at--) {
      auto& byte = address.bytes[static_cast<std::size_t>(at)];
      byte = static_cast<std::uint8_t>(byte + by);
      if (by > 0 ? byte != 0 : byte != 0xff) break;
    }
    return address;
  };
  IpAddress last = prefix.address, middle = prefix.address;
  for (int at = prefix.length; at < last.bits(); at++)
    last.bytes[static_cast<std::size_t>(at / 8)] |= static_cast<std::uint8_t>(0x80 >> (at % 8));
  for (int at = prefix.length + 1; at < last.bits(); at += 3)
    middle.bytes[static_cast<std::size_t>(at / 8)] |= static_cast<std::uint8_t>(0x80 >> (at % 8));
  return {prefix.address, last, middle, middle, step(prefix.address, -1), step(last, 1)};
}

}  // namespace

Generator::Generator(Random& random, const World& world) : random_(random), world_(world) {
  ports_ = {22, 80, 443, 53, 0, 65535, 67, 68, 546, 547, 5353, 9999};
  const auto add = [&](const IpAddress& address) {
    (address.family == Family::IPv4 ? pool4_ : pool6_).push_back(address.text());
  };
  const auto add_prefix = [&](const std::string& text) {
    for (const IpAddress& each : around(IpPrefix::parse(text).value())) add(each);
  };
  for (const RealmSpec& realm : world.realms)
    for (const std::string& each : realm.addresses) add_prefix(each);
  for (const GrantSpec& grant : world.grants)
    for (const std::string& each : grant.destinations) {
      const Destination destination = parse_destination(each).value();
      if (destination.kind == Destination::Kind::Prefix)
        for (const IpAddress& address : around(destination.prefix)) add(address);
      for (const PortRange& range : destination.ranges)
        for (const int port : {range.low - 1, range.low + 0, range.high + 0, range.high + 1})
          ports_.push_back(static_cast<std::uint16_t>(port));
    }
  for (const GuestSpec& guest : world.guests)
    for (const std::string& each : guest.addresses) add(IpAddress::parse(each).value());
  for (const char* each : kLocalRoutes) add_prefix(each);
  for (const char* each : kNodeAddresses) add(IpAddress::parse(each).value());
  for (const char* each : {"10.42.7.7", "10.43.0.1", "169.254.169.254", "8.8.8.8", "203.0.113.200", "172.16.0.1",
                           "224.0.0.251", "239.1.1.1", "255.255.255.255", "0.0.0.0", "127.0.0.1", "240.0.0.1"})
    pool4_.emplace_back(each);
  for (const char* each :
       {"2600::1", "2001:db8:9999::1", "fd00:42::77", "fd00:43::1", "ff02::fb", "ff02::1:2", "ff05::1", "fe80::1",
        "fe80::66", "::1", "::", "::ffff:198.51.100.7", "2002::1", "fec0::1", "100::1"})
    pool6_.emplace_back(each);
}

std::string Generator::address(bool six) { return random_.of(six ? pool6_ : pool4_); }

std::uint16_t Generator::port() { return random_.percent(80) ? random_.of(ports_) : random_.word(); }

const GuestSpec& Generator::guest(const std::string& name) const {
  for (const GuestSpec& each : world_.guests)
    if (each.name == name) return each;
  return world_.guests.front();
}

// Who a packet to this guest may come from: mostly a party.
std::string Generator::who(const std::string& name, bool& local_node) {
  local_node = false;
  const std::string& of = guest(name).grant;
  for (const GrantSpec& grant : world_.grants) {
    if (grant.name != of) continue;
    const std::size_t chance = random_.below(100);
    if (chance < 45) return "realm:" + grant.grantee;
    if (chance < 55) return "realm:" + grant.grantor;
    if (chance < 65) return "grant:" + grant.name;
  }
  local_node = random_.percent(30);
  if (random_.percent(local_node ? 85 : 40)) return "";
  return random_.percent(50) ? "realm:" + random_.of(world_.realms).name : "grant:" + random_.of(world_.grants).name;
}

}  // namespace grantd::model
