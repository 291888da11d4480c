// Small desired states for tests of compile and plan.
#pragma once

#include "agent/compile/compile.h"
#include "crd-sync/destination.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace grantd::desired {

inline IpPrefix prefix(const std::string& text) {
  auto parsed = IpPrefix::parse(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.value();
}

inline IpAddress address(const std::string& text) {
  auto parsed = IpAddress::parse(text);
  EXPECT_TRUE(parsed.ok()) << text;
  return parsed.value();
}

inline Destination destination(const std::string& text) {
  auto parsed = parse_destination(text);
  EXPECT_TRUE(parsed.ok()) << text;
  Destination result = parsed.value();
  result.position = {"grant.yaml", 1, 10};
  return result;
}

inline Realm realm(const std::string& name, const std::vector<std::string>& prefixes) {
  Realm realm;
  realm.name = name;
  realm.identity = name + ".example.net";
  for (const std::string& text : prefixes) realm.addresses.push_back({prefix(text), {"realm.yaml", 1, 1}});
  return realm;
}

inline Grant grant(const std::string& name, const std::vector<std::string>& destinations) {
  Grant grant;
  grant.namespace_name = "keystone-system";
  grant.name = name;
  grant.grantor_realm = "alice";
  grant.grantee_realm = "bob";
  grant.egress_allowed = true;
  grant.spec_hash = name;
  for (const std::string& text : destinations) grant.destinations.own().push_back(destination(text));
  return grant;
}

inline Workload workload(const std::string& name, const std::string& grant_name, const std::string& interface,
                         const std::vector<std::string>& addresses) {
  Workload workload;
  workload.name = name;
  workload.grant = "keystone-system/" + grant_name;
  workload.interface = interface;
  for (const std::string& text : addresses) workload.addresses.push_back(address(text));
  return workload;
}

inline InterfaceFact interface(const std::string& name, std::uint32_t ifindex) {
  InterfaceFact fact;
  fact.name = name;
  fact.ifindex = ifindex;
  fact.peer_mac = MacAddress{{2, 0, 0, 0, 0, static_cast<std::uint8_t>(ifindex)}};
  return fact;
}

inline TimeFacts noon() {
  TimeFacts time;
  time.now = WallTime(std::chrono::seconds(1'800'000'000));
  time.boot_now = 1'000'000'000'000;
  return time;
}

// Alice, Bob and Carol; one node with an uplink, and guests' interfaces 10, 11 and 12.
inline DesiredState world() {
  DesiredState desired;
  desired.realms = {realm("alice", {"192.168.1.0/24"}), realm("bob", {"100.64.7.0/24", "fd7a:115c:a1e0:b0b::/64"}),
                    realm("carol", {"192.0.2.0/24"})};
  return desired;
}

inline NodeFacts node() {
  NodeFacts node;
  node.interfaces = {interface("veth-a", 10), interface("veth-b", 11), interface("veth-c", 12), interface("eth0", 2)};
  node.interfaces[3].addresses = {address("192.168.1.5")};
  node.uplink_rules = {{"eth*", UplinkClass::Lan}};
  node.pod_cidrs = {prefix("10.42.0.0/16")};
  node.service_cidrs = {prefix("10.43.0.0/16")};
  return node;
}

}  // namespace grantd::desired
