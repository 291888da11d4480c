// What an ICMP error quotes, byte by byte, in both families (rule 9).
#include "tests/prog/fixture.h"

#include <algorithm>
#include <vector>

namespace grantd::prog {
namespace {

class Quote : public Prog {
 protected:
  // Spoiled in bit 0 or 4 it is a port that nobody has had yet.
  void SetUp() override {
    do port_ = fresh_port();
    while (port_ & 0x11);
  }

  Sent about(const Bytes& quoted, const char* to = nullptr) {
    const bool six = quoted[0] >> 4 == 6;
    return six ? to_guest(frame_in("2001:db8:ffff::1", to ? to : kWeb6, kIcmp6, icmp(1, 0, 0, quoted)), "")
               : to_guest(frame_in("198.18.0.1", to ? to : kWeb4, kIcmp4, icmp(3, 1, 0, quoted)), "");
  }
  Bytes quote4(std::uint8_t protocol, const Bytes& l4) { return ipv4({kWeb4, kBob4, protocol, 0, 0, {}}, l4); }
  Bytes quote6(std::uint8_t protocol, const Bytes& l4) { return ipv6({kWeb6, kBob6, protocol, 64}, l4); }
  static Bytes spoiled(Bytes bytes, std::size_t at, std::uint8_t value) {
    bytes.at(at) = value;
    return bytes;
  }
  static Bytes cut(Bytes bytes, std::size_t to) {
    bytes.resize(to);
    return bytes;
  }

  std::uint16_t port_ = 0;
};

TEST_F(Quote, EveryProtocolThatHasFlows) {
  struct Case {
    const char* name;
    std::uint8_t protocol4, protocol6;
    Bytes first4, first6;
  };
  const Case cases[] = {
      {"TCP", kTcp, kTcp, tcp(port_, 80, kSyn), tcp(port_, 80, kSyn)},
      {"UDP", kUdp, kUdp, udp(port_, 53), udp(port_, 53)},
      {"SCTP", kSctp, kSctp, sctp(port_, 80), sctp(port_, 80)},
      {"echo", kIcmp4, kIcmp6, icmp(8, 0, port_), icmp(128, 0, port_)},
  };
  for (const Case& each : cases) {
    const Bytes four = cut(quote4(each.protocol4, each.first4), 28), six = cut(quote6(each.protocol6, each.first6), 48);
    expect(about(four), GRANTD_REASON_ICMP_ERROR_UNRELATED, each.name);
    expect(about(six), GRANTD_REASON_ICMP_ERROR_UNRELATED, each.name);
    expect(from_guest(frame_out(kWeb4, kBob4, each.protocol4, each.first4)), GRANTD_REASON_NEW_FLOW, each.name);
    expect(from_guest(frame_out(kWeb6, kBob6, each.protocol6, each.first6)), GRANTD_REASON_NEW_FLOW, each.name);
    expect(about(four), GRANTD_REASON_ICMP_ERROR, each.name);
    expect(about(six), GRANTD_REASON_ICMP_ERROR, each.name);
    expect(about(cut(four, 27)), GRANTD_REASON_ICMP_ERROR_UNRELATED, std::string(each.name) + ", a byte less");
    expect(about(cut(six, 47)), GRANTD_REASON_ICMP_ERROR_UNRELATED, std::string(each.name) + ", a byte less");
  }
}

TEST_F(Quote, EveryByteThatIsRead) {
  expect(from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn))), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(frame_out(kWeb6, kBob6, kTcp, tcp(port_, 80, kSyn))), GRANTD_REASON_NEW_FLOW);
  const Bytes four = cut(quote4(kTcp, tcp(port_, 80, kSyn)), 28), six = cut(quote6(kTcp, tcp(port_, 80, kSyn)), 48);
  const auto judged = [](std::size_t at, bool is_read) {
    return std::pair{is_read ? GRANTD_REASON_ICMP_ERROR_UNRELATED : GRANTD_REASON_ICMP_ERROR,
                     "byte " + std::to_string(at)};
  };
  for (std::size_t at = 1; at < 28; at++) {
    // Offset, protocol, addresses and ports; the flags of fragmentation are not.
    const bool is_read = at == 6 || at == 7 || at == 9 || (at >= 12 && at < 24);
    const auto [reason, what] = judged(at, is_read);
    expect(about(spoiled(four, at, four[at] ^ 0x10)), reason, what);
  }
  for (const std::uint8_t flags : Bytes{0x20, 0x40, 0x80})
    expect(about(spoiled(four, 6, flags)), GRANTD_REASON_ICMP_ERROR);
  for (std::size_t at = 1; at < 48; at++) {
    const bool is_read = at == 6 || (at >= 8 && at < 44);
    const auto [reason, what] = judged(at, is_read);
    expect(about(spoiled(six, at, six[at] ^ 0x10)), reason, "IPv6, " + what);
  }
}

// Packet Too Big quotes the first fragment of a datagram: without it nobody learns of the path's MTU (RFC 8201).
TEST_F(Quote, FirstFragments) {
  struct Case {
    const char* name;
    std::uint8_t protocol;
    Bytes first;
  };
  const Case cases[] = {
      {"TCP", kTcp, tcp(port_, 80, kSyn)},
      {"UDP", kUdp, udp(port_, 53)},
      {"SCTP", kSctp, sctp(port_, 80)},
      {"echo", kIcmp6, icmp(128, 0, port_)},
  };
  constexpr std::uint8_t kFragment = 44;
  for (const Case& each : cases) {
    const auto fragment = [&](std::uint16_t offset_and_more) {
      return cut(quote6(kFragment, ipv6_fragment(each.protocol, offset_and_more, 7) + each.first), 56);
    };
    expect(about(fragment(1)), GRANTD_REASON_ICMP_ERROR_UNRELATED, each.name);
    expect(from_guest(frame_out(kWeb6, kBob6, each.protocol, each.first)), GRANTD_REASON_NEW_FLOW, each.name);
    // Only the offset is read beside what comes next.
    for (const std::uint16_t bits : std::initializer_list<std::uint16_t>{0, 1, 2, 4, 7})
      expect(about(fragment(bits)), GRANTD_REASON_ICMP_ERROR, each.name);
    for (unsigned bit = 3; bit < 16; bit++)
      expect(about(fragment(static_cast<std::uint16_t>(1 << bit))), GRANTD_REASON_ICMP_ERROR_UNRELATED, each.name);
    expect(about(cut(fragment(1), 55)), GRANTD_REASON_ICMP_ERROR_UNRELATED, std::string(each.name) + ", a byte less");
    expect(about(spoiled(fragment(1), 40, kFragment)), GRANTD_REASON_ICMP_ERROR_UNRELATED, "two headers of fragments");
    expect(about(spoiled(fragment(1), 40, kIcmp4)), GRANTD_REASON_ICMP_ERROR_UNRELATED, "IPv4's ICMP");
    for (std::size_t at = 48; at < 52; at++)
      if (each.protocol != kIcmp6 || at == 48)
        expect(about(spoiled(fragment(1), at, static_cast<std::uint8_t>(fragment(1)[at] ^ 1))),
               GRANTD_REASON_ICMP_ERROR_UNRELATED, std::string(each.name) + ", byte " + std::to_string(at));
  }
}

// What rule 1 lets out, an error about it finds the flow of.
TEST_F(Quote, ExtensionHeadersAsThePacketItselfMayHaveThem) {
  constexpr std::uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kOptions = 60;
  struct Case {
    const char* name;
    std::vector<std::uint8_t> chain;
    bool walked;
    std::uint16_t offset_and_more = 0;  // of fragments
    std::size_t bytes = 8;              // of each header of options
  };
  const Case cases[] = {
      {"options", {kOptions}, true},
      {"long options", {kOptions}, true, 0, 264},
      {"hop-by-hop", {kHopByHop}, true},
      {"hop-by-hop, options", {kHopByHop, kOptions}, true},
      {"six", {kHopByHop, kOptions, kOptions, kFragment, kOptions, kOptions}, true},
      {"seven", {kHopByHop, kOptions, kOptions, kFragment, kOptions, kOptions, kOptions}, false},
      {"hop-by-hop behind options", {kOptions, kHopByHop}, false},
      {"routing", {kOptions, kRouting}, false},
      {"mobility", {kOptions, 135}, false},
      {"a first fragment with options", {kFragment, kOptions}, true, 1},
      {"options before a first fragment", {kOptions, kFragment}, true, 1},
      {"a later fragment", {kOptions, kFragment}, false, 8},
      {"two headers of fragments", {kFragment, kOptions, kFragment}, false},
  };
  for (const std::uint8_t protocol : {kTcp, kUdp, kSctp, kIcmp6}) {
    port_ = fresh_port();
    const Bytes first = protocol == kTcp    ? tcp(port_, 80, kSyn)
                        : protocol == kUdp  ? udp(port_, 53)
                        : protocol == kSctp ? sctp(port_, 80)
                                            : icmp(128, 0, port_);
    expect(from_guest(frame_out(kWeb6, kBob6, protocol, first)), GRANTD_REASON_NEW_FLOW);
    for (const Case& each : cases) {
      Bytes quoted(first.begin(), first.begin() + 8);
      std::uint8_t next = protocol;
      for (auto kind = each.chain.rbegin(); kind != each.chain.rend(); ++kind) {
        quoted =
            (*kind == kFragment ? ipv6_fragment(next, each.offset_and_more, 7) : extension(next, each.bytes)) + quoted;
        next = *kind;
      }
      const std::string what = std::string(each.name) + " before " + std::to_string(protocol);
      quoted = quote6(next, quoted);
      expect(about(quoted), each.walked ? GRANTD_REASON_ICMP_ERROR : GRANTD_REASON_ICMP_ERROR_UNRELATED, what);
      // Where a router cuts it short is its own business.
      for (std::size_t more = 1; more < 8; more++)
        expect(about(quoted + zeros(more)), each.walked ? GRANTD_REASON_ICMP_ERROR : GRANTD_REASON_ICMP_ERROR_UNRELATED,
               what + ", and " + std::to_string(more) + " bytes");
      for (std::size_t less = 1; less <= quoted.size() - 40; less += 3)
        expect(about(cut(quoted, quoted.size() - less)), GRANTD_REASON_ICMP_ERROR_UNRELATED,
               what + ", less " + std::to_string(less));
    }
  }
}

TEST_F(Quote, VersionsAndLengthsOfTheWrongKind) {
  expect(from_guest(frame_out(kWeb4, kBob4, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(frame_out(kWeb6, kBob6, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  const Bytes four = quote4(kUdp, udp(port_, 53)), six = quote6(kUdp, udp(port_, 53));
  const auto in4 = [&](const Bytes& quoted) {
    return to_guest(frame_in("198.18.0.1", kWeb4, kIcmp4, icmp(3, 1, 0, quoted)), "");
  };
  const auto in6 = [&](const Bytes& quoted) {
    return to_guest(frame_in("2001:db8:ffff::1", kWeb6, kIcmp6, icmp(1, 0, 0, quoted)), "");
  };
  expect(in4(four), GRANTD_REASON_ICMP_ERROR);
  expect(in6(six), GRANTD_REASON_ICMP_ERROR);
  for (const std::uint8_t head : Bytes{0x44, 0x46, 0x4f, 0x55, 0x65, 0x35})
    expect(in4(spoiled(four, 0, head) + zeros(40)), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  for (const std::uint8_t head : Bytes{0x40, 0x50, 0x70, 0x20})
    expect(in6(spoiled(six, 0, head)), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  for (const std::uint8_t next : Bytes{0, 1, 43, 44, 58, 59, 60, 6, 132})
    expect(in6(spoiled(six, 6, next)), GRANTD_REASON_ICMP_ERROR_UNRELATED, std::to_string(next));
  for (const std::uint8_t protocol : Bytes{0, 1, 2, 6, 47, 58, 132})
    expect(in4(spoiled(four, 9, protocol)), GRANTD_REASON_ICMP_ERROR_UNRELATED, std::to_string(protocol));
}

TEST_F(Quote, EchoesByTheirTypeAndId) {
  expect(from_guest(frame_out(kWeb4, kBob4, kIcmp4, icmp(8, 0, port_))), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(frame_out(kWeb6, kBob6, kIcmp6, icmp(128, 0, port_))), GRANTD_REASON_NEW_FLOW);
  for (unsigned type = 0; type < 256; type++) {
    const auto typed = static_cast<std::uint8_t>(type);
    expect(about(quote4(kIcmp4, icmp(typed, 0, port_))),
           type == 8 ? GRANTD_REASON_ICMP_ERROR : GRANTD_REASON_ICMP_ERROR_UNRELATED, std::to_string(type));
    expect(about(quote6(kIcmp6, icmp(typed, 0, port_))),
           type == 128 ? GRANTD_REASON_ICMP_ERROR : GRANTD_REASON_ICMP_ERROR_UNRELATED, std::to_string(type));
  }
  // IPv4's number in IPv6, with IPv6's type.
  expect(about(quote6(kIcmp4, icmp(128, 0, port_))), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  // A reply of the guest's, to an echo of bob's: the flow is his.
  const std::uint16_t id = fresh_port();
  expect(to_guest(frame_in(kBob4, kWeb4, kIcmp4, icmp(8, 0, id)), "bob"), GRANTD_REASON_NEW_FLOW);
  expect(about(quote4(kIcmp4, icmp(0, 0, id))), GRANTD_REASON_ICMP_ERROR);
  expect(about(quote4(kIcmp4, icmp(8, 0, id))), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

TEST_F(Quote, GoesToWhoSentIt) {
  const grantd_endpoint web = endpoint_of("web");
  grantd_endpoint more = web;
  const Bytes second = address("10.21.0.9");
  std::copy(second.begin(), second.end(), reinterpret_cast<std::uint8_t*>(&more.ipv4[2]));
  put_endpoint(more);
  expect(from_guest(frame_out(kWeb4, kBob4, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  const Bytes four = quote4(kUdp, udp(port_, 53));
  expect(about(four), GRANTD_REASON_ICMP_ERROR);
  expect(about(four, "10.21.0.9"), GRANTD_REASON_ICMP_ERROR_UNRELATED, "to another address of its own");
  // What the guest complains of it has received, at the address that it complains from.
  const Bytes received = ipv4({kBob4, kWeb4, kUdp, 0, 0, {}}, udp(53, port_));
  const auto complain = [&](const char* from, const char* to) {
    return from_guest(frame_out(from, to, kIcmp4, icmp(3, 3, 0, received)));
  };
  expect(complain(kWeb4, kBob4), GRANTD_REASON_ICMP_ERROR);
  expect(complain("10.21.0.9", kBob4), GRANTD_REASON_ICMP_ERROR_UNRELATED, "from another address of its own");
  expect(complain(kWeb4, "192.0.2.11"), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  put_endpoint(web);
}

TEST_F(Quote, OfIpv6IsBoundedInSizeToo) {
  expect(from_guest(frame_out(kWeb6, kBob6, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  const std::size_t most = 1280 - 40 - 8 - 40 - 8;
  expect(about(quote6(kUdp, udp(port_, 53, most))), GRANTD_REASON_ICMP_ERROR);
  expect(about(quote6(kUdp, udp(port_, 53, most + 1))), GRANTD_REASON_ICMP_ERROR_SIZE);
}

TEST_F(Quote, WithoutItsTableNothingIsRelated) {
  expect(from_guest(frame_out(kWeb4, kBob4, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  const auto slot = slot_of("bob");
  ASSERT_TRUE(node().maps().flow.erase(slot).ok());
  expect(about(quote4(kUdp, udp(port_, 53))), GRANTD_REASON_TABLE_MISSING);
  ASSERT_TRUE(node().datapath().make_tables({slot}, 1024).ok());
  expect(about(quote4(kUdp, udp(port_, 53))), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

// Which types are errors at all.
TEST_F(Quote, EveryType) {
  expect(from_guest(frame_out(kWeb4, kBob4, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  expect(from_guest(frame_out(kWeb6, kBob6, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  for (unsigned type = 0; type < 256; type++) {
    const auto typed = static_cast<std::uint8_t>(type);
    const bool error4 = type == 3 || type == 11 || type == 12, error6 = type >= 1 && type <= 4;
    const Sent four =
        to_guest(frame_in("198.18.0.1", kWeb4, kIcmp4, icmp(typed, 0, 0, quote4(kUdp, udp(port_, 53)))), "");
    expect(four,
           error4      ? GRANTD_REASON_ICMP_ERROR
           : type == 5 ? GRANTD_REASON_ICMP_REDIRECT
           : type == 0 ? GRANTD_REASON_NO_FLOW
           : type == 8 ? GRANTD_REASON_NOBODY
                       : GRANTD_REASON_ICMP_TYPE,
           std::to_string(type));
    const Sent six =
        to_guest(frame_in("2001:db8:ffff::1", kWeb6, kIcmp6, icmp(typed, 0, 0, quote6(kUdp, udp(port_, 53)))), "");
    const bool chatter = (type >= 130 && type <= 132) || type == 143, discovery = type >= 133 && type <= 136;
    expect(six,
           error6        ? GRANTD_REASON_ICMP_ERROR
           : type == 137 ? GRANTD_REASON_ICMP_REDIRECT
           : type == 129 ? GRANTD_REASON_NO_FLOW
           : type == 128 ? GRANTD_REASON_NOBODY
           : chatter     ? GRANTD_REASON_LINK_CHATTER
           : discovery   ? GRANTD_REASON_MALFORMED
                         : GRANTD_REASON_ICMP_TYPE,
           std::to_string(type));
  }
}

}  // namespace
}  // namespace grantd::prog
