// What is not understood drops under its own reason (rule 1). Each row spoils one thing of a frame that passes.
#include "tests/prog/fixture.h"

#include <set>

namespace grantd::prog {
namespace {

class Parse : public Prog {
 protected:
  Bytes good4() { return frame_out(kWeb4, kOpen4, kTcp, tcp(fresh_port(), 443, kSyn)); }
  Bytes good6() { return frame_out(kWeb6, kOpen6b, kTcp, tcp(fresh_port(), 443, kSyn)); }
  Bytes chain(std::uint8_t first, const Bytes& payload) {
    return ethernet(kFarMac, kGuestMac, 0x86dd, ipv6({kWeb6, kOpen6b, first, 64}, payload));
  }
  Bytes ip4(Ipv4 header, const Bytes& payload) {
    header.source = kWeb4;
    header.destination = kOpen4;
    return ethernet(kFarMac, kGuestMac, 0x0800, ipv4(header, payload));
  }
  static constexpr const char* kOpen6b = "2001:db8:be::7";
};

TEST_F(Parse, EveryLengthOfAFrame) {
  for (const Bytes& good : {good4(), good6()}) {
    expect(from_guest(good), GRANTD_REASON_NEW_FLOW);
    // Frames that end inside the IP header BPF_PROG_TEST_RUN refuses; a packet socket does not (tests/netns).
    const std::size_t shortest = good[12] == 0x08 ? 14 + 20 : 14 + 40;
    for (std::size_t length = shortest; length < good.size(); length++) {
      const Bytes cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length));
      EXPECT_FALSE(run(Hook::FromGuest, cut, interface_of("web"), {}).passes) << length;
    }
  }
}

TEST_F(Parse, ACutHeaderHasItsReason) {
  Bytes inside_arp = ethernet(kFarMac, kGuestMac, 0x0806, arp(1, kGuestMac, kWeb4, kFarMac, "10.20.0.1"));
  expect(from_guest(inside_arp), GRANTD_REASON_HOUSEKEEPING);
  inside_arp.pop_back();
  expect(from_guest(inside_arp), GRANTD_REASON_TOO_SHORT);
  Bytes inside_tcp = good4();
  inside_tcp.resize(14 + 20 + 10);
  expect(from_guest(inside_tcp), GRANTD_REASON_MALFORMED, "shorter than the IP header says");
  expect(from_guest(ip4({"", "", kTcp, 0, 0, {}}, zeros(10))), GRANTD_REASON_TOO_SHORT);
}

TEST_F(Parse, PaddingBehindThePacketIsNoHeader) {
  Bytes padded = good4();
  padded = padded + zeros(6);
  expect(from_guest(padded), GRANTD_REASON_NEW_FLOW);
}

TEST_F(Parse, EveryEthertype) {
  const auto slots = interface_of("web");
  std::set<unsigned> passed;
  Bytes frame = good4();
  for (unsigned type = 0; type <= 0xffff; type++) {
    frame[12] = static_cast<std::uint8_t>(type >> 8);
    frame[13] = static_cast<std::uint8_t>(type);
    if (run(Hook::FromGuest, frame, slots, {}).passes) passed.insert(type);
  }
  EXPECT_EQ(passed, std::set<unsigned>{0x0800});
  frame[12] = 0x88;
  frame[13] = 0xcc;
  expect(from_guest(frame), GRANTD_REASON_ETHERTYPE);
}

TEST_F(Parse, VlanTags) {
  for (unsigned type : {0x8100U, 0x88a8U}) {
    const Bytes inner = good4();
    Bytes tagged = ethernet(kFarMac, kGuestMac, static_cast<std::uint16_t>(type),
                            Bytes{0, 0} + Bytes(inner.begin() + 12, inner.end()));
    expect(from_guest(tagged), GRANTD_REASON_VLAN_TAG);
  }
}

TEST_F(Parse, EveryProtocolNumber) {
  std::set<unsigned> passed;
  for (unsigned protocol = 0; protocol < 256; protocol++) {
    // Bytes that are a good start of each of the four, to a destination that everything is open to.
    Bytes l4 = protocol == kTcp    ? tcp(fresh_port(), 443, kSyn)
               : protocol == kUdp  ? udp(fresh_port(), 5000)
               : protocol == kSctp ? sctp(fresh_port(), 9999)
                                   : icmp(8, 0, fresh_port());
    const Bytes frame = ethernet(kFarMac, kGuestMac, 0x0800,
                                 ipv4({kWeb4, "198.51.100.70", static_cast<std::uint8_t>(protocol), 0, 0, {}}, l4));
    const Sent sent = from_guest(frame);
    if (sent.passes) {
      passed.insert(protocol);
    } else {
      expect(sent, protocol == 2 ? GRANTD_REASON_LINK_CHATTER : GRANTD_REASON_PROTOCOL, std::to_string(protocol));
    }
  }
  EXPECT_EQ(passed, (std::set<unsigned>{kIcmp4, kTcp, kUdp, kSctp}));
}

TEST_F(Parse, EveryNextHeaderNumber) {
  std::set<unsigned> passed;
  for (unsigned next = 0; next < 256; next++) {
    Bytes l4 = next == kTcp    ? tcp(fresh_port(), 443, kSyn)
               : next == kUdp  ? udp(fresh_port(), 5000)
               : next == kSctp ? sctp(fresh_port(), 9999)
                               : icmp(128, 0, fresh_port());
    if (from_guest(chain(static_cast<std::uint8_t>(next), l4)).passes) passed.insert(next);
  }
  EXPECT_EQ(passed, (std::set<unsigned>{kTcp, kUdp, kIcmp6, kSctp}));
  expect(from_guest(chain(kIcmp4, icmp(8, 0, 1))), GRANTD_REASON_PROTOCOL, "IPv4's ICMP in IPv6");
  expect(from_guest(frame_out(kWeb4, kOpen4, kIcmp6, icmp(128, 0, 1))), GRANTD_REASON_PROTOCOL, "and the reverse");
}

TEST_F(Parse, Ipv4OptionsDropWhateverTheyHold) {
  for (std::size_t words = 1; words <= 10; words++) {
    // Decoy ports where a parser that takes 20 bytes for the header would look.
    Bytes options = tcp(1, 443, kSyn);
    options.resize(4 * words);
    expect(from_guest(ip4({"", "", kTcp, 0, 0, options}, tcp(fresh_port(), 22, kSyn))), GRANTD_REASON_IPV4_OPTIONS);
  }
  Bytes short_header = good4();
  for (unsigned ihl = 0; ihl < 5; ihl++) {
    short_header[14] = static_cast<std::uint8_t>(0x40 | ihl);
    expect(from_guest(short_header), GRANTD_REASON_MALFORMED);
  }
}

TEST_F(Parse, HeadersThatContradictThemselves) {
  const auto spoiled = [](Bytes frame, std::size_t at, std::uint8_t value) {
    frame[at] = value;
    return frame;
  };
  expect(from_guest(spoiled(good4(), 14, 0x65)), GRANTD_REASON_MALFORMED, "version 6 in an IPv4 frame");
  expect(from_guest(spoiled(good6(), 14, 0x45)), GRANTD_REASON_MALFORMED, "version 4 in an IPv6 frame");
  expect(from_guest(spoiled(good4(), 17, 19)), GRANTD_REASON_MALFORMED, "a total length below the header");
  expect(from_guest(spoiled(good4(), 16, 0xff)), GRANTD_REASON_MALFORMED, "a total length beyond the frame");
  expect(from_guest(spoiled(good6(), 18, 0xff)), GRANTD_REASON_MALFORMED, "a payload length beyond the frame");
  expect(from_guest(spoiled(good4(), 14 + 20 + 12, 0x40)), GRANTD_REASON_MALFORMED, "a TCP header of 16 bytes");
  expect(from_guest(spoiled(good4(), 14 + 20 + 12, 0xf0)), GRANTD_REASON_TOO_SHORT, "a TCP header beyond the packet");
  expect(from_guest(spoiled(good4(), 20, 0x80)), GRANTD_REASON_MALFORMED, "the reserved bit");
  const Bytes datagram = frame_out(kWeb4, kOpen4, kUdp, udp(fresh_port(), 5000, 8));
  expect(from_guest(datagram), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(spoiled(datagram, 14 + 20 + 5, 7)), GRANTD_REASON_MALFORMED, "a UDP length below its header");
  expect(from_guest(spoiled(datagram, 14 + 20 + 5, 17)), GRANTD_REASON_MALFORMED, "a UDP length beyond the packet");
}

TEST_F(Parse, ExtensionHeaders) {
  const auto syn = [] { return tcp(fresh_port(), 443, kSyn); };
  expect(from_guest(chain(0, extension(kTcp) + syn())), GRANTD_REASON_NEW_FLOW, "hop-by-hop");
  expect(from_guest(chain(60, extension(kTcp) + syn())), GRANTD_REASON_NEW_FLOW, "destination options");
  expect(from_guest(chain(60, extension(kTcp, 64) + syn())), GRANTD_REASON_NEW_FLOW, "longer ones");
  expect(from_guest(chain(0, extension(60) + extension(kTcp) + syn())), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(chain(60, extension(0) + extension(kTcp) + syn())), GRANTD_REASON_EXTENSION_HEADER,
         "hop-by-hop comes first or not at all");
  expect(from_guest(chain(43, extension(kTcp) + syn())), GRANTD_REASON_ROUTING_HEADER);
  expect(from_guest(chain(60, extension(43) + extension(kTcp) + syn())), GRANTD_REASON_ROUTING_HEADER);
  for (std::uint8_t unknown : Bytes{135, 139, 140})
    expect(from_guest(chain(unknown, extension(kTcp) + syn())), GRANTD_REASON_EXTENSION_HEADER);
  for (std::uint8_t other : Bytes{50, 51, 59, 41, 4, 47})
    expect(from_guest(chain(other, extension(kTcp) + syn())), GRANTD_REASON_PROTOCOL, "ESP, AH, none, tunnels");
  for (int count = 1; count <= 8; count++) {
    Bytes headers;
    for (int i = 1; i < count; i++) headers = headers + extension(60);
    headers = headers + extension(kTcp);
    expect(from_guest(chain(60, headers + syn())), count <= 6 ? GRANTD_REASON_NEW_FLOW : GRANTD_REASON_EXTENSION_HEADER,
           std::to_string(count));
  }
  Bytes beyond = extension(kTcp);
  beyond[1] = 200;
  expect(from_guest(chain(60, beyond + syn())), GRANTD_REASON_TOO_SHORT, "a length beyond the packet");
}

TEST_F(Parse, ThePortBehindExtensionHeadersIsTheOneThatCounts) {
  expect(from_guest(chain(60, extension(kTcp) + tcp(fresh_port(), 443, kSyn))), GRANTD_REASON_NEW_FLOW);
  Bytes decoy = extension(kTcp, 24);
  const Bytes ports = big_endian(1, 2) + big_endian(443, 2);
  std::copy(ports.begin(), ports.end(), decoy.begin() + 2);
  expect(from_guest(ethernet(kFarMac, kGuestMac, 0x86dd,
                             ipv6({kWeb6, "2001:db8:ca01::10", 60, 64}, decoy + tcp(fresh_port(), 22, kSyn)))),
         GRANTD_REASON_DESTINATION_PORT);
}

TEST_F(Parse, MulticastBroadcastAndMartians) {
  const auto to = [&](const char* destination, const char* to_mac = kFarMac) {
    const bool six = std::string(destination).find(':') != std::string::npos;
    const Bytes l4 = udp(fresh_port(), 9);
    return from_guest(six ? ethernet(to_mac, kGuestMac, 0x86dd, ipv6({kWeb6, destination, kUdp, 64}, l4))
                          : ethernet(to_mac, kGuestMac, 0x0800, ipv4({kWeb4, destination, kUdp, 0, 0, {}}, l4)));
  };
  expect(to("198.51.100.70"), GRANTD_REASON_NEW_FLOW);
  expect(to("239.1.2.3"), GRANTD_REASON_MULTICAST);
  expect(to("ff05::1"), GRANTD_REASON_MULTICAST);
  expect(to("255.255.255.255"), GRANTD_REASON_BROADCAST);
  expect(to("198.51.100.70", "ff:ff:ff:ff:ff:ff"), GRANTD_REASON_BROADCAST, "by the frame");
  expect(to("198.51.100.70", "01:00:5e:00:00:01"), GRANTD_REASON_MULTICAST, "by the frame");
  for (const char* martian : {"0.1.2.3", "127.0.0.1", "240.0.0.1", "::1", "::", "::ffff:198.51.100.70"})
    expect(to(martian), GRANTD_REASON_MARTIAN, martian);
  expect(to(kWeb4), GRANTD_REASON_MARTIAN, "itself");
  expect(to("fe80::9"), GRANTD_REASON_LINK_LOCAL);
}

TEST_F(Parse, LinkChatterHasAReasonThatAlarmsNobody) {
  const auto udp_to = [&](const char* destination, std::uint16_t port) {
    const bool six = std::string(destination).find(':') != std::string::npos;
    const Bytes l4 = udp(68, port);
    return from_guest(six ? frame_out(kWeb6, destination, kUdp, l4) : frame_out(kWeb4, destination, kUdp, l4));
  };
  expect(udp_to("255.255.255.255", 67), GRANTD_REASON_LINK_CHATTER, "DHCP");
  expect(udp_to("224.0.0.251", 5353), GRANTD_REASON_LINK_CHATTER, "mDNS");
  expect(udp_to("ff02::1:2", 547), GRANTD_REASON_LINK_CHATTER, "DHCPv6");
  expect(udp_to("224.0.0.251", 5354), GRANTD_REASON_MULTICAST);
  expect(from_guest(frame_out(kWeb6, "ff02::16", kIcmp6, icmp(143, 0, 0, zeros(12)))), GRANTD_REASON_LINK_CHATTER,
         "MLD");
}

}  // namespace
}  // namespace grantd::prog
