// A guest speaks for itself alone (rule 2): addresses, ARP and neighbour discovery, in both directions.
#include "tests/prog/fixture.h"

namespace grantd::prog {
namespace {

constexpr const char *kBroadcast = "ff:ff:ff:ff:ff:ff", *kNoMac = "00:00:00:00:00:00",
                     *kLinkLocal = "fe80::20:ff:fe00:1";  // of kGuestMac, EUI-64
constexpr const char *kGateway = "fe80::1", *kAllNodes = "ff02::1", *kAllRouters = "ff02::2",
                     *kSolicitedGateway = "ff02::1:ff00:1", *kSolicitedSelf = "ff02::1:ff00:2";

class OwnAddress : public Prog {
 protected:
  Bytes syn(const char* source, const char* source_mac = kGuestMac) {
    return ethernet(kFarMac, source_mac, 0x0800, ipv4({source, kBob4, kTcp, 0, 0, {}}, tcp(fresh_port(), 80, kSyn)));
  }
  Bytes nd(const char* source, const char* destination, const Bytes& message, std::uint8_t hops = 255) {
    return ethernet(kFarMac, kGuestMac, 0x86dd, ipv6({source, destination, kIcmp6, hops}, message));
  }
  Bytes nd_in(const char* source, const char* destination, const Bytes& message, std::uint8_t hops = 255) {
    return ethernet(kGuestMac, kFarMac, 0x86dd, ipv6({source, destination, kIcmp6, hops}, message));
  }
};

TEST_F(OwnAddress, SourceMacAndAddress) {
  expect(from_guest(syn(kWeb4)), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(syn(kWeb4, "02:20:00:00:00:02")), GRANTD_REASON_SOURCE_MAC);
  for (const char* other : {kDb4, kBob4, kNode4, "0.0.0.0", "127.0.0.1", "255.255.255.255"})
    expect(from_guest(syn(other)), GRANTD_REASON_SOURCE_ADDRESS, other);
  const auto syn6 = [&](const char* source) { return frame_out(source, kBob6, kTcp, tcp(fresh_port(), 80, kSyn)); };
  expect(from_guest(syn6(kWeb6)), GRANTD_REASON_NEW_FLOW);
  for (const char* other : {kDb6, kBob6, "::", "::1"})
    expect(from_guest(syn6(other)), GRANTD_REASON_SOURCE_ADDRESS, other);
  expect(from_guest(syn6("::ffff:10.20.0.2")), GRANTD_REASON_MARTIAN, "v4-mapped");
  expect(from_guest(syn6(kLinkLocal)), GRANTD_REASON_LINK_LOCAL);
}

TEST_F(OwnAddress, WhatIsNotForTheGuestDoesNotReachIt) {
  const auto in = [&](const char* destination) {
    return to_guest(frame_in(kBob4, destination, kTcp, tcp(fresh_port(), 80, kSyn)), "bob");
  };
  expect(in(kWeb4), GRANTD_REASON_NEW_FLOW);
  expect(in(kDb4), GRANTD_REASON_NOT_FOR_GUEST);
  expect(in("239.1.1.1"), GRANTD_REASON_MULTICAST);
  expect(in("255.255.255.255"), GRANTD_REASON_BROADCAST);
  expect(to_guest(frame_in(kWeb4, kWeb4, kTcp, tcp(1, 80, kSyn)), "bob"), GRANTD_REASON_MARTIAN, "from itself");
}

TEST_F(OwnAddress, Arp) {
  const auto out = [&](const Bytes& message, const char* source_mac = kGuestMac, const char* to = kBroadcast) {
    return from_guest(ethernet(to, source_mac, 0x0806, message));
  };
  expect(out(arp(1, kGuestMac, kWeb4, kNoMac, "10.20.0.1")), GRANTD_REASON_HOUSEKEEPING, "request");
  expect(out(arp(2, kGuestMac, kWeb4, kFarMac, "10.20.0.1"), kGuestMac, kFarMac), GRANTD_REASON_HOUSEKEEPING, "reply");
  expect(out(arp(2, kGuestMac, kWeb4, kFarMac, "10.20.0.1")), GRANTD_REASON_MALFORMED, "to somebody else, for all");
  expect(out(arp(1, kGuestMac, "0.0.0.0", kNoMac, kWeb4)), GRANTD_REASON_HOUSEKEEPING, "probe for itself");
  expect(out(arp(1, kGuestMac, "0.0.0.0", kNoMac, kDb4)), GRANTD_REASON_NEIGHBOUR_SPOOFING, "probe for another");
  expect(out(arp(2, kGuestMac, "10.20.0.1", kFarMac, kDb4)), GRANTD_REASON_NEIGHBOUR_SPOOFING, "for the gateway");
  expect(out(arp(1, "02:20:00:00:00:02", kWeb4, kNoMac, "10.20.0.1")), GRANTD_REASON_NEIGHBOUR_SPOOFING);
  expect(out(arp(1, kGuestMac, kWeb4, kNoMac, "10.20.0.1"), "02:20:00:00:00:02"), GRANTD_REASON_SOURCE_MAC);
  expect(out(arp(3, kGuestMac, kWeb4, kNoMac, "10.20.0.1")), GRANTD_REASON_MALFORMED, "RARP");
  expect(out(arp(1, kGuestMac, kWeb4, kNoMac, "10.20.0.1") + zeros(64)), GRANTD_REASON_MALFORMED,
         "a message behind it");
  expect(out(arp(1, kGuestMac, kWeb4, kNoMac, "10.20.0.1") + zeros(18)), GRANTD_REASON_HOUSEKEEPING, "padded");
  expect(out(arp(1, kGuestMac, kWeb4, kNoMac, "10.20.0.1") + zeros(17) + Bytes{1}), GRANTD_REASON_MALFORMED,
         "a letter in the padding");
  expect(out(arp(1, kGuestMac, kWeb4, "ff:ff:ff:ff:ff:ff", "10.20.0.1")), GRANTD_REASON_HOUSEKEEPING);
  expect(out(arp(1, kGuestMac, kWeb4, kGuestMac, kWeb4)), GRANTD_REASON_HOUSEKEEPING, "says who it is");
  expect(out(arp(1, kGuestMac, kWeb4, "6c:65:74:74:65:72", "10.20.0.1")), GRANTD_REASON_MALFORMED, "a letter as a MAC");
  Bytes token_ring = arp(1, kGuestMac, kWeb4, kNoMac, "10.20.0.1");
  token_ring[1] = 6;
  expect(out(token_ring), GRANTD_REASON_MALFORMED);

  const auto in = [&](const Bytes& message) { return to_guest(ethernet(kBroadcast, kFarMac, 0x0806, message), ""); };
  expect(in(arp(1, kFarMac, "10.20.0.1", kNoMac, kWeb4)), GRANTD_REASON_HOUSEKEEPING);
  expect(in(arp(1, kFarMac, "10.20.0.1", kNoMac, kDb4)), GRANTD_REASON_LINK_CHATTER, "a question to another");
  expect(in(arp(2, kFarMac, kWeb4, kGuestMac, kWeb4)), GRANTD_REASON_NEIGHBOUR_SPOOFING, "somebody with its address");
}

TEST_F(OwnAddress, NeighbourDiscoveryOfTheGuest) {
  expect(from_guest(nd(kWeb6, kSolicitedGateway, neighbour(135, kGateway, kGuestMac))), GRANTD_REASON_HOUSEKEEPING);
  expect(from_guest(nd(kLinkLocal, kGateway, neighbour(135, kGateway, kGuestMac))), GRANTD_REASON_HOUSEKEEPING);
  expect(from_guest(nd(kWeb6, kGateway, neighbour(136, kWeb6, kGuestMac))), GRANTD_REASON_HOUSEKEEPING);
  expect(from_guest(nd("::", kSolicitedSelf, neighbour(135, kWeb6))), GRANTD_REASON_HOUSEKEEPING, "DAD");
  expect(from_guest(nd(kLinkLocal, kAllRouters, neighbour(133, "", kGuestMac))), GRANTD_REASON_HOUSEKEEPING, "RS");

  expect(from_guest(nd(kDb6, kSolicitedGateway, neighbour(135, kGateway, kGuestMac))), GRANTD_REASON_NEIGHBOUR_SPOOFING,
         "another's address");
  expect(from_guest(nd(kWeb6, kGateway, neighbour(136, kDb6, kGuestMac))), GRANTD_REASON_NEIGHBOUR_SPOOFING);
  expect(from_guest(nd("::", kSolicitedSelf, neighbour(135, kDb6))), GRANTD_REASON_NEIGHBOUR_SPOOFING,
         "DAD for another");
  expect(from_guest(nd("::", kAllNodes, neighbour(136, kWeb6))), GRANTD_REASON_NEIGHBOUR_SPOOFING);
  expect(from_guest(nd(kLinkLocal, kAllNodes, neighbour(134, "", kGuestMac))), GRANTD_REASON_NEIGHBOUR_SPOOFING,
         "a router advertisement");
  expect(from_guest(nd(kWeb6, kSolicitedGateway, neighbour(135, kGateway, kFarMac))), GRANTD_REASON_NEIGHBOUR_SPOOFING,
         "another's MAC in the option");
  Bytes message = neighbour(135, kGateway, kGuestMac);
  message[message.size() - 8] = 14;
  expect(from_guest(nd(kWeb6, kSolicitedGateway, message)), GRANTD_REASON_NEIGHBOUR_SPOOFING, "a nonce");
  message[message.size() - 8] = 31;
  expect(from_guest(nd(kWeb6, kSolicitedGateway, message)), GRANTD_REASON_NEIGHBOUR_SPOOFING, "a message as an option");
  expect(from_guest(nd(kWeb6, kSolicitedGateway, neighbour(135, kGateway, kGuestMac), 254)), GRANTD_REASON_MALFORMED);
}

TEST_F(OwnAddress, NothingOfNeighbourDiscoveryIsRouted) {
  expect(from_guest(nd(kWeb6, "2001:db8:bad::1", neighbour(135, kGateway, kGuestMac))), GRANTD_REASON_DESTINATION);
  expect(from_guest(nd(kWeb6, "ff0e::1", neighbour(135, kGateway, kGuestMac))), GRANTD_REASON_DESTINATION);
  expect(from_guest(nd("::", kGateway, neighbour(135, kWeb6))), GRANTD_REASON_DESTINATION, "DAD speaks to groups");
  expect(from_guest(nd(kWeb6, kDb6, neighbour(135, kDb6, kGuestMac))), GRANTD_REASON_HOUSEKEEPING,
         "a neighbour that the Grant lets it reach");
}

TEST_F(OwnAddress, NothingStandsBetweenIpv6AndNeighbourDiscovery) {
  const Bytes out = neighbour(135, kGateway, kGuestMac), in = neighbour(135, kWeb6, kFarMac);
  const auto behind = [](std::uint8_t next, const char* source, const char* destination, const Bytes& rest) {
    return ipv6({source, destination, next, 255}, rest);
  };
  const std::pair<std::uint8_t, Bytes> headers[] = {{60, extension(kIcmp6)},
                                                    {0, extension(kIcmp6)},
                                                    {44, ipv6_fragment(kIcmp6, 1, 7)},
                                                    {44, ipv6_fragment(kIcmp6, 0, 8)}};
  for (const auto& [next, header] : headers) {
    const std::string what = "header " + std::to_string(next);
    expect(from_guest(ethernet(kFarMac, kGuestMac, 0x86dd, behind(next, kWeb6, kSolicitedGateway, header + out))),
           GRANTD_REASON_MALFORMED, what);
    expect(to_guest(ethernet(kGuestMac, kFarMac, 0x86dd, behind(next, kGateway, kSolicitedSelf, header + in)), ""),
           GRANTD_REASON_MALFORMED, what);
  }
  expect(from_guest(nd(kWeb6, kSolicitedGateway, out)), GRANTD_REASON_HOUSEKEEPING);
}

TEST_F(OwnAddress, NeighbourDiscoveryToTheGuest) {
  expect(to_guest(nd_in(kGateway, kSolicitedSelf, neighbour(135, kWeb6, kFarMac)), ""), GRANTD_REASON_HOUSEKEEPING);
  expect(to_guest(nd_in(kGateway, kWeb6, neighbour(136, kGateway, kFarMac)), ""), GRANTD_REASON_HOUSEKEEPING);
  expect(to_guest(nd_in(kGateway, kAllNodes, neighbour(134, "", kFarMac)), ""), GRANTD_REASON_HOUSEKEEPING);
  expect(to_guest(nd_in("fe80::66", kAllNodes, neighbour(134, "", kFarMac)), ""), GRANTD_REASON_NEIGHBOUR_SPOOFING,
         "another router");
  expect(to_guest(nd_in(kGateway, kSolicitedSelf, neighbour(135, kDb6, kFarMac)), ""), GRANTD_REASON_LINK_CHATTER);
  expect(to_guest(nd_in(kWeb6, kAllNodes, neighbour(136, kGateway, kFarMac)), ""), GRANTD_REASON_NEIGHBOUR_SPOOFING,
         "somebody with its address");
  expect(to_guest(nd_in(kGateway, kWeb6, neighbour(136, kWeb6, kFarMac)), ""), GRANTD_REASON_NEIGHBOUR_SPOOFING);
  expect(to_guest(nd_in(kGateway, kSolicitedSelf, neighbour(135, kWeb6, kFarMac), 64), ""), GRANTD_REASON_MALFORMED);
}

}  // namespace
}  // namespace grantd::prog
