// Cases on which the datapath and the reference model (tests/model) once disagreed, each as small as it could be made.
// A run of tests/model prints a disagreement as a row for this table.
#include "tests/model/found.h"

#include <gtest/gtest.h>

namespace grantd::model {
namespace {

// Alice's node, Bob's Grant to everything, and his guests a and b.
constexpr const char* kOpen =
    R"(---
{apiVersion: keystone.io/v1alpha1, kind: Realm, metadata: {name: alice}, spec: {identity: alice.example.net, addresses: []}}
---
{apiVersion: keystone.io/v1alpha1, kind: Realm, metadata: {name: bob}, spec: {identity: bob.example.net, addresses: ["192.0.2.0/24"]}}
---
{apiVersion: keystone.io/v1alpha1, kind: Grant, metadata: {name: g0, namespace: ns}, spec: {grantorRealm: alice, granteeRealm: bob, networkPolicy: {egressAllowed: true, allowedDestinations: []}}}
---
{apiVersion: keystone.io/v1alpha1, kind: Workload, metadata: {name: a}, spec: {grantName: ns/g0, interface: veth-a, mac: "02:20:00:00:00:0a", addresses: ["10.20.0.2", "fd00:20::2"]}}
)";

const FoundCase kFound[] = {
    {"a solicitation to the unspecified address, which gateways that are not there hold",
     kOpen,
     {
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a86dd6000000000183afffd000020000000000000000000000002"
          "ff0200000000000000000001ff0000018700000000000000fe800000000000000000000000000001",
          GRANTD_REASON_HOUSEKEEPING},
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a86dd6000000000183afffd000020000000000000000000000002"
          "000000000000000000000000000000008700000000000000fe800000000000000000000000000001",
          GRANTD_REASON_DESTINATION},
     }},
    {"an ARP answer that comes from no address",
     kOpen,
     {
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a0806000108000604000102200000000a0000000002200000000a0a140002",
          GRANTD_REASON_HOUSEKEEPING},
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a0806000108000604000202200000000a0000000002200000000a0a140002",
          GRANTD_REASON_NEIGHBOUR_SPOOFING},
     }},
    {"an ICMP error about a live flow, from an address that no packet on a wire may have",
     kOpen,
     {
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a080045000028000000004006000 00a140002c000020a"
          "75300050000000000000000050020000 00000000",
          GRANTD_REASON_NEW_FLOW},
         {Program::ToGuest, "veth-a", true, "",
          "02200000000a0200000000090800450000380000000040010000c00002010a1400020301000000000000"
          "45000028000000004006000 00a140002c000020a7530005000000000",
          GRANTD_REASON_ICMP_ERROR},
         {Program::ToGuest, "veth-a", true, "",
          "02200000000a02000000000908004500003800000000400100007f0000010a1400020301000000000000"
          "45000028000000004006000 00a140002c000020a7530005000000000",
          GRANTD_REASON_MARTIAN},
         {Program::ToGuest, "veth-a", true, "",
          "02200000000a0200000000090800450000380000000040010000ef0101010a1400020301000000000000"
          "45000028000000004006000 00a140002c000020a7530005000000000",
          GRANTD_REASON_MULTICAST},
     }},
    {"a later fragment that ends where the largest packet does, and one that ends beyond",
     kOpen,
     {
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a080045000024000120004011000 00a140002c000020a7530003500400000"
          "0000000000000000",
          GRANTD_REASON_NEW_FLOW},
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a0800450000170001 1ffd4011000 00a140002c000020a000000", GRANTD_REASON_FRAGMENT},
         {Program::FromGuest, "veth-a", false, "",
          "02000000000902200000000a08004500001c0001 1ffe4011000 00a140002c000020a0000000000000000",
          GRANTD_REASON_MALFORMED},
     }},
    {"a router advertisement that ends inside its header",
     kOpen,
     {
         {Program::ToGuest, "veth-a", false, "",
          "02200000000a02000000000986dd6000000000103afffe800000000000000000000000000001"
          "ff02000000000000000000000000000186000000000000000000000000000000",
          GRANTD_REASON_HOUSEKEEPING},
         {Program::ToGuest, "veth-a", false, "",
          "02200000000a02000000000986dd6000000000083afffe800000000000000000000000000001"
          "ff0200000000000000000000000000018600000000000000",
          GRANTD_REASON_TOO_SHORT},
     }},
};

TEST(Found, StaysMended) {
  WorldNode node;
  int number = 0;
  for (const FoundCase& found : kFound)
    EXPECT_EQ(first_failure(node, found, "-" + std::to_string(++number)), std::nullopt) << found.name;
}

}  // namespace
}  // namespace grantd::model
