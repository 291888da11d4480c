// ARP and neighbour discovery field by field (rule 2): each row spoils or moves one thing of a message that passes.
#include "tests/prog/fixture.h"

#include <algorithm>

namespace grantd::prog {
namespace {

constexpr const char *kBroadcast = "ff:ff:ff:ff:ff:ff", *kNoMac = "00:00:00:00:00:00", *kGateway4 = "10.20.0.1",
                     *kGateway = "fe80::1", *kAllNodes = "ff02::1", *kAllRouters = "ff02::2",
                     *kLinkLocal = "fe80::20:ff:fe00:1";  // of kGuestMac, EUI-64
constexpr grantd_reason kKeeps = GRANTD_REASON_HOUSEKEEPING, kSpoofs = GRANTD_REASON_NEIGHBOUR_SPOOFING,
                        kMalformed = GRANTD_REASON_MALFORMED, kChatter = GRANTD_REASON_LINK_CHATTER;

// A guest with as many addresses and gateways as there are.
class Housekeeping : public Prog {
 protected:
  void SetUp() override {
    web_ = endpoint_of("web");
    full_ = web_;
    for (int i = 0; i < 4; i++) {
      set(reinterpret_cast<std::uint8_t*>(&full_.ipv4[i]), own4(i));
      set(full_.ipv6[i].bytes, own6(i));
      set(full_.gateway[i].bytes, i < 3 ? "fe80::a" + std::to_string(i) : "fd00:20::ffff");
    }
    put_endpoint(full_);
  }
  void TearDown() override { put_endpoint(web_); }
  static void set(std::uint8_t* into, const std::string& text) {
    const Bytes bytes = address(text);
    std::copy(bytes.begin(), bytes.end(), into);
  }
  static std::string own4(int i) { return i ? "10.21.0." + std::to_string(i) : kWeb4; }
  static std::string own6(int i) { return i ? "fd00:21::" + std::to_string(i) : kWeb6; }

  Sent arp_out(const Bytes& message, const char* to = kBroadcast) {
    return from_guest(ethernet(to, kGuestMac, 0x0806, message));
  }
  Sent arp_in(const Bytes& message) { return to_guest(ethernet(kBroadcast, kFarMac, 0x0806, message), ""); }
  Sent nd_out(const std::string& source, const std::string& destination, const Bytes& message) {
    return from_guest(ethernet(kFarMac, kGuestMac, 0x86dd, ipv6({source, destination, kIcmp6, 255}, message)));
  }
  // To the group that it is for.
  Sent nd_to_group(const std::string& source, std::uint8_t type, const std::string& target) {
    return nd_out(source, neighbour_group(type, target), neighbour(type, target));
  }
  Sent nd_in(const std::string& source, const std::string& destination, const Bytes& message) {
    return to_guest(ethernet(kGuestMac, kFarMac, 0x86dd, ipv6({source, destination, kIcmp6, 255}, message)), "");
  }
  static Bytes spoiled(Bytes message, std::size_t at, std::uint8_t value) {
    message.at(at) = value;
    return message;
  }

  grantd_endpoint web_{}, full_{};
};

TEST_F(Housekeeping, EachOfItsAddressesIsItsOwn) {
  for (int i = 0; i < 4; i++) {
    const std::string four = own4(i), six = own6(i);
    const auto syn = [] { return tcp(fresh_port(), 80, kSyn); };
    expect(from_guest(frame_out(four, kBob4, kTcp, syn())), GRANTD_REASON_NEW_FLOW, four);
    expect(from_guest(frame_out(six, kBob6, kTcp, syn())), GRANTD_REASON_NEW_FLOW, six);
    expect(to_guest(frame_in(kBob4, four, kTcp, syn()), "bob"), GRANTD_REASON_NEW_FLOW, four);
    expect(to_guest(frame_in(kBob6, six, kTcp, syn()), "bob"), GRANTD_REASON_NEW_FLOW, six);
    expect(arp_out(arp(1, kGuestMac, four, kNoMac, kGateway4)), kKeeps, four);
    expect(arp_in(arp(1, kFarMac, kGateway4, kNoMac, four)), kKeeps, four);
    expect(arp_in(arp(1, kFarMac, four, kNoMac, kGateway4)), kSpoofs, four);
    expect(nd_out(six, kAllNodes, neighbour(136, six, kGuestMac)), kKeeps, six);
    expect(nd_in(kGateway, neighbour_group(135, six), neighbour(135, six)), kKeeps, six);
    expect(nd_in(six, kAllNodes, neighbour(135, kGateway)), kSpoofs, six);
  }
  expect(nd_out(kLinkLocal, kAllNodes, neighbour(136, kLinkLocal, kGuestMac)), kKeeps);
  // Addresses that it has none of are nobody's.
  put_endpoint(web_);
  expect(arp_out(arp(1, kGuestMac, "0.0.0.0", kNoMac, "0.0.0.0")), kSpoofs);
  expect(arp_in(arp(1, kFarMac, "0.0.0.0", kNoMac, "0.0.0.0")), kChatter);
  expect(nd_in("::", kAllNodes, neighbour(135, "::")), kChatter);
  expect(nd_in("::", neighbour_group(135, kWeb6), neighbour(135, kWeb6)), kKeeps,
         "who asks whether it may have the address");
  for (const char* own : {kWeb6, "fd00:20::3"})
    for (std::size_t at = 0; at < 16; at++) {
      Bytes near = neighbour(135, own);
      near[8 + at] ^= 0x10;
      expect(nd_in(kGateway, kAllNodes, near), kChatter, "byte " + std::to_string(at));
    }
}

TEST_F(Housekeeping, ArpFieldByField) {
  const Bytes question = arp(1, kGuestMac, kWeb4, kNoMac, kGateway4);
  expect(arp_out(question), kKeeps);
  for (const auto& [at, value] : std::initializer_list<std::pair<std::size_t, std::uint8_t>>{
           {0, 1}, {1, 2}, {2, 9}, {3, 1}, {4, 5}, {5, 16}, {6, 1}, {7, 0}, {7, 3}})
    expect(arp_out(spoiled(question, at, value)), kMalformed, "byte " + std::to_string(at));
  for (std::size_t at = 8; at < 14; at++) {
    expect(arp_out(spoiled(question, at, question[at] ^ 4U)), kSpoofs, "its MAC, byte " + std::to_string(at));
    expect(arp_in(spoiled(arp(1, kFarMac, kGateway4, kNoMac, kWeb4), at, 0x55)), kSpoofs,
           "the other's MAC, byte " + std::to_string(at));
  }
  for (std::size_t at = 14; at < 18; at++)
    expect(arp_out(spoiled(question, at, question[at] ^ 4U)), kSpoofs, "its address, byte " + std::to_string(at));
  for (std::size_t at = 18; at < 24; at++)
    expect(arp_out(spoiled(question, at, 7)), kMalformed, "whom it asks, byte " + std::to_string(at));
  for (std::size_t at = 24; at < 28; at++) expect(arp_out(spoiled(question, at, 1)), kKeeps, "asks for another");
}

TEST_F(Housekeeping, AMacIsSixBytesInTheirOrder) {
  const char* own = "02:21:32:43:54:65";
  const Bytes bytes = mac(own);
  std::copy(bytes.begin(), bytes.end(), full_.mac);
  put_endpoint(full_);
  const auto from = [&](const Bytes& source) {
    Bytes frame = frame_out(kWeb4, kBob4, kTcp, tcp(fresh_port(), 80, kSyn));
    std::copy(source.begin(), source.end(), frame.begin() + 6);
    return from_guest(frame);
  };
  expect(from(bytes), GRANTD_REASON_NEW_FLOW);
  for (std::size_t at = 0; at < 6; at++)
    for (std::size_t other = 0; other < 6; other++)
      if (at != other) expect(from(spoiled(bytes, at, bytes[other])), GRANTD_REASON_SOURCE_MAC, std::to_string(at));
}

TEST_F(Housekeeping, WhomArpAsks) {
  expect(arp_out(arp(1, kGuestMac, kWeb4, kFarMac, kGateway4), kFarMac), kKeeps, "whom the frame goes to");
  expect(arp_out(arp(1, kGuestMac, kWeb4, kGuestMac, kGateway4)), kKeeps, "itself");
  expect(arp_out(arp(1, kGuestMac, kWeb4, kBroadcast, kGateway4), kFarMac), kKeeps, "everybody");
  expect(arp_out(arp(1, kGuestMac, kWeb4, kNoMac, kGateway4), kFarMac), kKeeps, "nobody");
  expect(arp_out(arp(1, kGuestMac, kWeb4, kFarMac, kGateway4)), kMalformed, "another");
}

TEST_F(Housekeeping, ArpProbes) {
  expect(arp_out(arp(1, kGuestMac, "0.0.0.0", kNoMac, kWeb4)), kKeeps, "for its own");
  expect(arp_out(arp(1, kGuestMac, "0.0.0.0", kNoMac, kDb4)), kSpoofs, "for another's");
  expect(arp_out(arp(2, kGuestMac, "0.0.0.0", kNoMac, kWeb4)), kSpoofs, "an answer is no probe");
  expect(arp_out(arp(1, kGuestMac, kDb4, kNoMac, kWeb4)), kSpoofs, "nor is what has a sender");
  expect(arp_out(arp(2, kGuestMac, kWeb4, kNoMac, kDb4)), kKeeps, "an answer");
  expect(arp_in(arp(1, kFarMac, "0.0.0.0", kNoMac, kWeb4)), kKeeps, "somebody else's");
  expect(arp_in(arp(2, kFarMac, kGateway4, kGuestMac, kDb4)), kChatter);
}

TEST_F(Housekeeping, BehindArpStandsPaddingAlone) {
  const Bytes question = arp(1, kGuestMac, kWeb4, kNoMac, kGateway4);
  const std::size_t most = 64 - 14 - question.size();
  expect(arp_out(question + zeros(most)), kKeeps);
  expect(arp_out(question + zeros(most + 1)), kMalformed, "longer than the shortest frame");
  for (std::size_t at = 0; at < most; at++)
    expect(arp_out(spoiled(question + zeros(most), question.size() + at, 1)), kMalformed,
           "a letter at " + std::to_string(at));
  expect(arp_in(arp(1, kFarMac, kGateway4, kNoMac, kWeb4) + Bytes(most, 0x55)), kKeeps, "of others it is not asked");
}

Bytes option(std::uint8_t type, const std::string& of) { return Bytes{type, 1} + mac(of); }

TEST_F(Housekeeping, OptionsOfNeighbourDiscovery) {
  const Bytes bare = neighbour(135, kGateway);
  const auto out = [&](const Bytes& options) { return nd_out(kWeb6, neighbour_group(135, kGateway), bare + options); };
  const auto probe = [&](const Bytes& options) {
    return nd_out("::", neighbour_group(135, kWeb6), neighbour(135, kWeb6) + options);
  };
  const Bytes source = option(1, kGuestMac), target = option(2, kGuestMac), nonce = option(14, "6e:6f:6e:63:65:21");
  expect(out({}), kKeeps, "none");
  expect(out(source), kKeeps);
  expect(out(target), kKeeps);
  expect(out(nonce), kSpoofs, "a letter where another's address is asked for");
  expect(out(source + nonce), kSpoofs);
  expect(probe(nonce), kKeeps, "DAD tells its own by it");
  expect(probe(source + nonce), kKeeps);
  expect(nd_out("::", kAllRouters, neighbour(133, "") + nonce), kKeeps);
  expect(nd_out(kWeb6, kAllRouters, neighbour(133, "") + nonce), kSpoofs);
  expect(out(target + source + target), kKeeps, "three");
  expect(out(source + source + target + source), kSpoofs, "four");
  for (const Bytes& good : {source, target})
    for (std::size_t at = 2; at < 8; at++)
      expect(out(spoiled(good, at, 0x55)), kSpoofs, "another's MAC, byte " + std::to_string(at));
  for (const std::uint8_t type : Bytes{0, 3, 5, 13, 15, 25}) expect(out(option(type, kGuestMac)), kSpoofs, "type");
  for (const std::uint8_t length : Bytes{0, 2}) {
    expect(out(spoiled(source, 1, length)), kSpoofs, "length");
    expect(out(spoiled(source, 1, length) + zeros(8)), kSpoofs, "length");
    expect(probe(spoiled(nonce, 1, length)), kSpoofs, "length");
  }
  for (std::size_t bytes = 1; bytes < 8; bytes++)
    expect(out(Bytes(source.begin(), source.begin() + static_cast<std::ptrdiff_t>(bytes))), kSpoofs, "cut");
  expect(out(source + Bytes{14}), kSpoofs, "cut, the second one");
}

TEST_F(Housekeeping, NeighbourDiscoveryEndsWithItsMessage) {
  const auto out = [&](Bytes message, std::size_t bytes, const char* to) {
    message.resize(bytes);
    return nd_out(kWeb6, to, message);
  };
  const auto in = [&](Bytes message, std::size_t bytes) {
    message.resize(bytes);
    return nd_in("fe80::a0", kAllNodes, message);
  };
  for (const std::uint8_t type : Bytes{135, 136}) {
    const std::string to = neighbour_group(type, kWeb6);
    expect(out(neighbour(type, kWeb6), 24, to.c_str()), kKeeps);
    for (std::size_t bytes : {std::size_t{8}, std::size_t{16}, std::size_t{23}})
      expect(out(neighbour(type, kWeb6), bytes, to.c_str()), GRANTD_REASON_TOO_SHORT, std::to_string(bytes));
  }
  expect(out(neighbour(133, ""), 8, kAllRouters), kKeeps, "a router solicitation has no body");
  for (const std::uint8_t type : Bytes{133, 135, 136}) {
    const Bytes message = neighbour(type, type == 133 ? "" : kWeb6),
                frame = ethernet(kFarMac, kGuestMac, 0x86dd,
                                 ipv6({kWeb6, neighbour_group(type, kWeb6), kIcmp6, 255}, message));
    expect(from_guest(frame), kKeeps);
    expect(from_guest(frame + Bytes{0}), kMalformed, "nothing stands behind it that a neighbour could read");
    expect(from_guest(frame + zeros(8)), kMalformed, "nor where an option would");
  }
  expect(in(neighbour(134, ""), 16), kKeeps);
  expect(in(neighbour(134, ""), 15), GRANTD_REASON_TOO_SHORT);
  expect(in(neighbour(134, ""), 8), GRANTD_REASON_TOO_SHORT);
  const std::string asked = neighbour_group(135, kGateway);
  expect(nd_out(kWeb6, asked, spoiled(neighbour(135, kGateway), 1, 1)), kMalformed, "a code");
  expect(nd_out(kWeb6, asked, spoiled(neighbour(135, kGateway), 1, 2)), kMalformed, "a code");
}

TEST_F(Housekeeping, WhatAGuestSaysItSaysOfItself) {
  const auto out = [&](std::uint8_t type, const char* source, const char* target) {
    return nd_to_group(source, type, target);
  };
  expect(out(135, kWeb6, kDb6), kKeeps, "asks for another");
  expect(out(135, kDb6, kWeb6), kSpoofs, "as another");
  expect(out(135, "::", kWeb6), kKeeps);
  expect(out(135, "::", kLinkLocal), kKeeps);
  expect(out(135, "::", kDb6), kSpoofs);
  for (const char* almost : {"1::", "0:0:1::", "0:0:0:0:1::", "::1"}) expect(out(135, almost, kWeb6), kSpoofs, almost);
  expect(out(136, kWeb6, kWeb6), kKeeps);
  expect(out(136, kWeb6, kLinkLocal), kKeeps);
  expect(out(136, kWeb6, kDb6), kSpoofs);
  expect(out(136, kDb6, kWeb6), kSpoofs);
  expect(out(136, "::", kWeb6), kSpoofs);
  expect(out(133, "::", ""), kKeeps);
  expect(out(133, kLinkLocal, ""), kKeeps);
  expect(out(133, "fe80::66", ""), kSpoofs);
  expect(out(134, kLinkLocal, ""), kSpoofs);
  expect(out(134, "::", ""), kSpoofs);
}

TEST_F(Housekeeping, WhomAGuestMaySpeakTo) {
  const auto to = [&](const char* destination, const char* source = kWeb6) {
    return nd_out(source, destination, neighbour(135, kWeb6));
  };
  for (const char* good : {"ff02::1:ff00:2", "fe80::66", "fe80::a0", "fd00:20::ffff", kDb6})
    expect(to(good), kKeeps, good);
  expect(to("ff02::1:ff00:2", "::"), kKeeps);
  for (const char* bad : {"ff01::1", "ff05::1", "ff0e::2", "ff12::1", "::", "::1", "fd00:20::fffe", "fd00:22::1",
                          "2001:db8:99::1", "02ff::2"})
    expect(to(bad), GRANTD_REASON_DESTINATION, bad);
  // Of groups the one that its kind of message is for: each other bit could be a letter.
  const auto grouped = [&](std::uint8_t type, const Bytes& group) {
    Bytes frame = ethernet(kFarMac, kGuestMac, 0x86dd, ipv6({kWeb6, "::", kIcmp6, 255}, neighbour(type, kWeb6)));
    std::copy(group.begin(), group.end(), frame.begin() + 14 + 24);
    return from_guest(frame);
  };
  for (const std::uint8_t type : Bytes{133, 135, 136}) {
    const Bytes its = address(neighbour_group(type, kWeb6));
    expect(grouped(type, its), kKeeps, std::to_string(type));
    for (std::size_t at = 1; at < its.size(); at++)
      for (const std::uint8_t bit : Bytes{0x01, 0x80})
        expect(grouped(type, spoiled(its, at, its[at] ^ bit)), GRANTD_REASON_DESTINATION,
               std::to_string(type) + " byte " + std::to_string(at));
    for (const std::uint8_t other : Bytes{133, 135, 136})
      if (other != type)
        expect(grouped(type, address(neighbour_group(other, kWeb6))),
               type == 136 && other == 133 ? kKeeps : GRANTD_REASON_DESTINATION, "another kind's");  // RFC 9131
  }
  for (const char* unicast : {"fe80::66", "fd00:20::ffff", kDb6})
    expect(to(unicast, "::"), GRANTD_REASON_DESTINATION, "DAD speaks to groups alone");
  // A gateway in each place.
  for (int i = 0; i < 4; i++) {
    grantd_endpoint other = full_;
    for (int j = 0; j < 4; j++) set(other.gateway[j].bytes, i == j ? "fd00:99::1" : "::");
    put_endpoint(other);
    expect(to("fd00:99::1"), kKeeps, std::to_string(i));
    expect(to("fd00:99::2"), GRANTD_REASON_DESTINATION, std::to_string(i));
    expect(to("::"), GRANTD_REASON_DESTINATION, "nobody is at ::");
  }
}

TEST_F(Housekeeping, NothingThatANeighbourOfAnotherGrantCouldRead) {
  for (const std::uint8_t type : Bytes{133, 135, 136}) {
    const std::string group = neighbour_group(type, kWeb6), what = std::to_string(type);
    const Bytes good =
        ethernet(group_mac(group), kGuestMac, 0x86dd, ipv6({kWeb6, group, kIcmp6, 255}, neighbour(type, kWeb6)));
    const auto with = [&](std::size_t at, std::uint8_t bits) {
      return from_guest(spoiled(good, at, static_cast<std::uint8_t>(good.at(at) ^ bits)));
    };
    expect(from_guest(good), kKeeps, what);
    // A process that asks for routers has a label from its kernel; no guest is given its question.
    const grantd_reason labelled = type == 133 ? kKeeps : kMalformed;
    for (const std::uint8_t bits : Bytes{0x01, 0x08}) expect(with(15, bits), labelled, what + ": the flow label");
    for (std::size_t at = 16; at < 18; at++) expect(with(at, 0x80), labelled, what + ": the flow label");
    expect(with(15, 0x10), kKeeps, what + ": a traffic class");
    for (std::size_t at = 58; at < 62; at++) expect(with(at, 0x01), kMalformed, what + ": what is reserved");
    for (const std::uint8_t flag : Bytes{0x80, 0x40, 0x20})
      expect(with(58, flag), type == 136 ? kKeeps : kMalformed, what + ": a flag");
    for (std::size_t at = 1; at < 6; at++) expect(with(at, 0x40), kMalformed, what + ": the group's MAC");
    expect(from_guest(spoiled(good, 0, 0x35)), kMalformed, what + ": the group's MAC");
    expect(from_guest(Bytes(6, 0xff) + Bytes(good.begin() + 6, good.end())), kMalformed, what + ": to everybody");
  }
  const Bytes question = arp(1, kGuestMac, kWeb4, kNoMac, kGateway4);
  expect(arp_out(question), kKeeps);
  expect(arp_out(question, kFarMac), kKeeps);
  expect(arp_out(question, "6d:65:73:73:61:67"), kMalformed, "a group");
  expect(arp_out(question, "ff:ff:ff:ff:ff:fe"), kMalformed, "a group");
}

TEST_F(Housekeeping, WhatABridgeFloodsToAGuest) {
  const auto question = [](const Bytes& to) {
    return to + mac(kFarMac) + Bytes{0x08, 0x06} + arp(1, kFarMac, kGateway4, kNoMac, kWeb4);
  };
  const auto told = [](const Bytes& to, std::uint8_t type, const char* destination, const char* target) {
    return to + mac(kFarMac) + Bytes{0x86, 0xdd} + ipv6({kGateway, destination, kIcmp6, 255}, neighbour(type, target));
  };
  const Bytes own = mac(kGuestMac);
  const auto expect_all = [&](const Bytes& to, grantd_reason reason, const std::string& what) {
    expect(to_guest(question(to), ""), reason, what + ", ARP");
    expect(to_guest(told(to, 135, kWeb6, kWeb6), ""), reason, what + ", a question");
    expect(to_guest(told(to, 136, kWeb6, kGateway), ""), reason, what + ", an answer");
  };
  expect_all(own, kKeeps, "its own address");
  expect_all(mac(kBroadcast), kKeeps, "everybody's");
  for (std::size_t at = 0; at < own.size(); at++)
    expect_all(spoiled(own, at, static_cast<std::uint8_t>(own[at] ^ 0x10)), kChatter, "byte " + std::to_string(at));
}

TEST_F(Housekeeping, WhatAGuestOfAnotherGrantSays) {
  const std::string asked = neighbour_group(135, kWeb6);
  const auto nd = [](std::uint8_t type, const std::string& to, const char* target) {
    return ethernet(kGuestMac, kFarMac, 0x86dd, ipv6({"fe80::a0", to, kIcmp6, 255}, neighbour(type, target)));
  };
  const Bytes question = ethernet(kBroadcast, kFarMac, 0x0806, arp(1, kFarMac, kGateway4, kNoMac, kWeb4));
  const Bytes said[] = {question, nd(135, asked, kWeb6), nd(136, kWeb6, kGateway), nd(134, kAllNodes, "::")};
  const auto from = [&](const Bytes& frame, std::uint32_t interface) {
    return to_guest(frame, "local", "web", {.ingress_ifindex = interface});
  };
  for (const Bytes& frame : said) {
    expect(from(frame, 0), kKeeps, "the node");
    expect(from(frame, node().ifindex("uplink0")), kKeeps, "a neighbour that is no guest");
    expect(from(frame, interface_of("db")), kKeeps, "its sibling");
    for (const char* other : {"far", "late", "orphan"}) expect(from(frame, interface_of(other)), kChatter, other);
  }
}

TEST_F(Housekeeping, WhatIsSaidToAGuest) {
  const auto in = [&](std::uint8_t type, const char* source, const char* destination, const char* target) {
    return nd_in(source, destination, neighbour(type, target));
  };
  const std::string asked = neighbour_group(135, kWeb6), asked_near = neighbour_group(135, kLinkLocal);
  expect(in(135, kGateway, asked.c_str(), kWeb6), kKeeps);
  expect(in(135, kGateway, kWeb6, kWeb6), kKeeps);
  expect(in(135, kGateway, asked_near.c_str(), kLinkLocal), kKeeps);
  // All that it may be sent to: an address of no host could be a letter.
  for (const char* other : {kAllNodes, kLinkLocal, "fe80::1:2", "2001:db8:be::7", "ff02::2", "ff02::1:ff00:3"})
    expect(in(135, kGateway, other, kWeb6), kChatter, other);
  expect(in(135, kGateway, kWeb6, kDb6), kChatter);
  expect(in(135, kLinkLocal, kAllNodes, kWeb6), kSpoofs, "from itself");
  expect(in(136, kGateway, kWeb6, kGateway), kKeeps);
  expect(in(136, kGateway, kLinkLocal, kGateway), kKeeps);
  expect(in(136, kGateway, kAllNodes, kGateway), kChatter, "to all");
  expect(in(136, kGateway, kDb6, kGateway), kChatter);
  expect(in(136, kGateway, kWeb6, kLinkLocal), kSpoofs);
  expect(in(133, "fe80::66", kAllRouters, ""), kChatter);
  expect(in(133, kWeb6, kAllRouters, ""), kSpoofs);
  for (const char* router : {"fe80::a0", "fe80::a1", "fe80::a2"})
    expect(in(134, router, kAllNodes, ""), kKeeps, router);
  expect(in(134, "fd00:20::ffff", kAllNodes, ""), kSpoofs, "a gateway, but by an address that is not link-local");
  for (const char* other : {"fe80::a3", "fe81::a0", "::", kBob6}) expect(in(134, other, kAllNodes, ""), kSpoofs, other);
  grantd_endpoint last = full_;
  set(last.gateway[3].bytes, "fe80::a3");
  put_endpoint(last);
  expect(in(134, "fe80::a3", kAllNodes, ""), kKeeps);
}

TEST_F(Housekeeping, ChatterByTypeAndPort) {
  const auto icmp_out = [&](std::uint8_t type) {
    return from_guest(frame_out(kWeb6, "ff02::16", kIcmp6, icmp(type, 0, 0, zeros(16))));
  };
  for (const std::uint8_t type : Bytes{130, 131, 132, 143}) expect(icmp_out(type), kChatter, std::to_string(type));
  for (const std::uint8_t type : Bytes{127, 138, 142, 144})
    expect(icmp_out(type), GRANTD_REASON_ICMP_TYPE, std::to_string(type));
  expect(from_guest(frame_out(kWeb4, kBob4, kIcmp4, icmp(130, 0, 0))), GRANTD_REASON_ICMP_TYPE, "IPv6's alone");
  const auto udp_to = [&](const std::string& destination, std::uint16_t port) {
    const bool six = destination.find(':') != std::string::npos;
    return from_guest(frame_out(six ? kWeb6 : kWeb4, destination, kUdp, udp(fresh_port(), port)));
  };
  for (const std::uint16_t port : std::initializer_list<std::uint16_t>{67, 68, 546, 547, 5353}) {
    const std::string what = std::to_string(port);
    expect(udp_to("255.255.255.255", port), kChatter, what);
    expect(udp_to("224.0.0.251", port), kChatter, what);
    expect(udp_to("ff02::fb", port), kChatter, what);
    expect(udp_to(kBob4, port), GRANTD_REASON_NEW_FLOW, what + " of one host");
    expect(from_guest(frame_out(kWeb4, "224.0.0.251", kTcp, tcp(fresh_port(), port, kSyn))), GRANTD_REASON_MULTICAST,
           what);
  }
  for (const std::uint16_t port : std::initializer_list<std::uint16_t>{66, 69, 545, 548, 5352, 5354}) {
    expect(udp_to("255.255.255.255", port), GRANTD_REASON_BROADCAST, std::to_string(port));
    expect(udp_to("224.0.0.251", port), GRANTD_REASON_MULTICAST, std::to_string(port));
  }
  expect(to_guest(frame_in(kBob4, "255.255.255.255", kUdp, udp(68, 67)), "bob"), kChatter);
}

TEST_F(Housekeeping, WhoHasNoLinkHasNoNeighbours) {
  const Bytes question = ethernet(kFarMac, kGuestMac, 0x86dd,
                                  ipv6({kWeb6, neighbour_group(135, kGateway), kIcmp6, 255}, neighbour(135, kGateway)));
  expect(from_guest(question), kKeeps);
  grantd_endpoint host_network = full_;
  host_network.flags = GRANTD_ENDPOINT_HOST_NETWORK;
  put_endpoint(host_network);
  expect(from_guest(question), GRANTD_REASON_ICMP_TYPE);
}

}  // namespace
}  // namespace grantd::prog
