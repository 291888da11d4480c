// Headers that are just long enough, and a byte too short; what segmentation makes of a packet (rules 1 and 12).
#include "tests/prog/fixture.h"

namespace grantd::prog {
namespace {

class Length : public Prog {
 protected:
  Bytes ip4(std::uint8_t protocol, const Bytes& l4) {
    return ethernet(kFarMac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4, protocol, 0, 0, {}}, l4));
  }
  Bytes ip6(std::uint8_t next, const Bytes& l4) {
    return ethernet(kFarMac, kGuestMac, 0x86dd, ipv6({kWeb6, kBob6, next, 64}, l4));
  }
  static Bytes cut(Bytes bytes, std::size_t to) {
    bytes.resize(to);
    return bytes;
  }
};

TEST_F(Length, OfEveryProtocolsHeader) {
  struct Case {
    const char* name;
    std::uint8_t protocol4, protocol6;
    Bytes l4;
  };
  for (int rest = 0; rest < 2; rest++) {
    const auto port = fresh_port();
    const Case cases[] = {{"TCP", kTcp, kTcp, tcp(port, 80, kSyn)},
                          {"UDP", kUdp, kUdp, udp(port, 53)},
                          {"SCTP", kSctp, kSctp, sctp(port, 80)},
                          {"ICMP", kIcmp4, kIcmp6, {}}};
    for (const Case& each : cases) {
      const Bytes four = each.protocol4 == kIcmp4 ? icmp(8, 0, port) : each.l4,
                  six = each.protocol4 == kIcmp4 ? icmp(128, 0, port) : each.l4;
      for (std::size_t bytes = 1; bytes < four.size(); bytes++) {
        const std::string what = std::string(each.name) + ", " + std::to_string(bytes);
        // Also where there is more in the frame than its IP header says.
        Bytes frame4 = ip4(each.protocol4, cut(four, bytes)), frame6 = ip6(each.protocol6, cut(six, bytes));
        if (rest) {
          frame4.insert(frame4.end(), four.begin() + static_cast<std::ptrdiff_t>(bytes), four.end());
          frame6.insert(frame6.end(), six.begin() + static_cast<std::ptrdiff_t>(bytes), six.end());
        }
        expect(from_guest(frame4), GRANTD_REASON_TOO_SHORT, what);
        expect(from_guest(frame6), GRANTD_REASON_TOO_SHORT, what);
      }
      expect(from_guest(ip4(each.protocol4, four)), GRANTD_REASON_NEW_FLOW, each.name);
      expect(from_guest(ip6(each.protocol6, six)), GRANTD_REASON_NEW_FLOW, each.name);
    }
  }
}

TEST_F(Length, OfAnIpHeader) {
  const auto syn = [&] { return ip4(kTcp, tcp(fresh_port(), 80, kSyn)); };
  const auto head = [&](std::uint8_t value) {
    Bytes frame = syn();
    frame[14] = value;
    return from_guest(frame);
  };
  expect(head(0x45), GRANTD_REASON_NEW_FLOW);
  for (const std::uint8_t bad : Bytes{0x40, 0x44, 0x35, 0x55, 0x65, 0x75}) expect(head(bad), GRANTD_REASON_MALFORMED);
  expect(head(0x46), GRANTD_REASON_IPV4_OPTIONS);
  expect(head(0x47), GRANTD_REASON_IPV4_OPTIONS);
  expect(head(0x4f), GRANTD_REASON_MALFORMED, "longer than the packet");
  Bytes exact = cut(syn(), 14 + 20);
  exact[17] = 20;
  expect(from_guest(exact), GRANTD_REASON_TOO_SHORT, "a header alone is one");
  exact[17] = 19;
  expect(from_guest(exact), GRANTD_REASON_MALFORMED);
  const auto head6 = [&](std::uint8_t value) {
    Bytes frame = ip6(kTcp, tcp(fresh_port(), 80, kSyn));
    frame[14] = value;
    return from_guest(frame);
  };
  expect(head6(0x60), GRANTD_REASON_NEW_FLOW);
  expect(head6(0x6f), GRANTD_REASON_NEW_FLOW, "a traffic class");
  for (const std::uint8_t bad : Bytes{0x50, 0x70, 0x20, 0x40}) expect(head6(bad), GRANTD_REASON_MALFORMED);
  for (const int more : {0, 1}) {
    Bytes four = syn(), six = ip6(kTcp, tcp(fresh_port(), 80, kSyn));
    four[17] = static_cast<std::uint8_t>(40 + more);
    six[19] = static_cast<std::uint8_t>(20 + more);
    expect(from_guest(four), more ? GRANTD_REASON_MALFORMED : GRANTD_REASON_NEW_FLOW);
    expect(from_guest(six), more ? GRANTD_REASON_MALFORMED : GRANTD_REASON_NEW_FLOW);
  }
}

TEST_F(Length, OfExtensionHeadersThatEndThePacket) {
  constexpr std::uint8_t kUnknown = 253;
  expect(from_guest(ip6(60, extension(kUnknown))), GRANTD_REASON_PROTOCOL, "what comes next is asked first");
  expect(from_guest(ip6(60, extension(kUnknown, 24))), GRANTD_REASON_PROTOCOL);
  expect(from_guest(ip6(44, ipv6_fragment(kUnknown, 0, 1))), GRANTD_REASON_PROTOCOL);
  expect(from_guest(ip6(60, extension(44) + ipv6_fragment(kUnknown, 0, 1))), GRANTD_REASON_PROTOCOL);
  for (std::size_t bytes = 1; bytes < 8; bytes++) {
    expect(from_guest(ip6(60, cut(extension(kUnknown), bytes))), GRANTD_REASON_TOO_SHORT);
    expect(from_guest(ip6(44, cut(ipv6_fragment(kUnknown, 0, 1), bytes))), GRANTD_REASON_TOO_SHORT);
    expect(from_guest(ip6(60, extension(44) + cut(ipv6_fragment(kUnknown, 0, 1), bytes))), GRANTD_REASON_TOO_SHORT);
    expect(from_guest(ip6(60, cut(extension(kUnknown, 16), 8 + bytes))), GRANTD_REASON_TOO_SHORT);
  }
  // Where there is more in the frame than the IP header says.
  expect(from_guest(ip6(60, cut(extension(kUnknown), 7)) + zeros(9)), GRANTD_REASON_TOO_SHORT);
  expect(from_guest(ip6(60, cut(extension(kUnknown, 16), 8)) + zeros(9)), GRANTD_REASON_TOO_SHORT);
}

// As the header of a fragment would have it, TCP begins where the packet has ended.
TEST_F(Length, OfAFragmentHeaderThatEndsBehindThePacket) {
  for (const bool with_options : {false, true}) {
    const Bytes before = with_options ? extension(44) : Bytes{};
    const std::uint8_t first = with_options ? 60 : 44;
    for (std::size_t bytes = 0; bytes <= 8; bytes++) {
      const Bytes fragment = ipv6_fragment(kTcp, 0, 1), syn = tcp(fresh_port(), 80, kSyn),
                  rest(fragment.begin() + static_cast<std::ptrdiff_t>(bytes), fragment.end());
      expect(from_guest(ip6(first, before + cut(fragment, bytes)) + rest + syn), GRANTD_REASON_TOO_SHORT,
             std::to_string(bytes));
    }
    expect(from_guest(ip6(first, before + ipv6_fragment(kTcp, 0, 1) + tcp(fresh_port(), 80, kSyn))),
           GRANTD_REASON_NEW_FLOW);
  }
}

TEST_F(Length, OfAnIpv6Fragment) {
  const auto later = [&](std::uint16_t offset_and_more, std::size_t bytes, bool with_options) {
    const Bytes fragment = ipv6_fragment(kUdp, offset_and_more, fresh_port()) + zeros(bytes);
    return from_guest(with_options ? ip6(60, extension(44) + fragment) : ip6(44, fragment));
  };
  expect(later(65528, 7, false), GRANTD_REASON_FRAGMENT_ORPHAN, "to the end of the largest packet");
  expect(later(65528, 8, false), GRANTD_REASON_MALFORMED);
  expect(later(65520, 7, true), GRANTD_REASON_FRAGMENT_ORPHAN, "headers before it count");
  expect(later(65520, 8, true), GRANTD_REASON_MALFORMED);
  expect(later(800 | 1, 8, false), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(later(800 | 1, 9, false), GRANTD_REASON_MALFORMED);
  expect(later(800, 9, false), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(later(800, 1, false), GRANTD_REASON_FRAGMENT_ORPHAN);
  expect(later(800, 0, false), GRANTD_REASON_MALFORMED, "nothing");
  // The two bits that are reserved say nothing.
  expect(from_guest(ip6(44, ipv6_fragment(kTcp, 6, 1) + tcp(fresh_port(), 80, kSyn))), GRANTD_REASON_NEW_FLOW);
}

TEST_F(Length, FlagsThatAreNoneOfTheSix) {
  for (const std::uint8_t more : Bytes{0x40, 0x80, 0xc0}) {
    const auto port = fresh_port();
    expect(from_guest(ip4(kTcp, tcp(port, 80, kSyn | more))), GRANTD_REASON_NEW_FLOW, "a SYN with ECN");
    expect(from_guest(ip4(kTcp, tcp(fresh_port(), 80, more))), GRANTD_REASON_NO_FLOW);
  }
}

TEST_F(Length, OfWhatSegmentationMakes) {
  const auto port = fresh_port();
  expect(from_guest(ip4(kTcp, tcp(port, 80, kSyn))), GRANTD_REASON_NEW_FLOW);
  struct Case {
    std::size_t payload;
    std::uint32_t size, segments, counted;
  };
  for (const Case& each : {Case{1000, 0, 0, 1},
                           {1000, 100, 0, 10},
                           {999, 100, 0, 10},
                           {901, 100, 0, 10},
                           {900, 100, 0, 9},
                           {1001, 100, 0, 11},
                           {1000, 100, 9, 10},
                           {1000, 100, 10, 10},
                           {1000, 100, 13, 13},
                           {1, 100, 0, 1},
                           {0, 100, 5, 1}}) {
    Context offload;
    offload.gso_size = each.size;
    offload.gso_segs = each.segments;
    const Bytes frame = ip4(kTcp, tcp(port, 80, kAck, each.payload));
    const auto before = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED);
    ASSERT_TRUE(run(Hook::FromGuest, frame, interface_of("web"), offload).passes);
    const auto after = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED);
    EXPECT_EQ(after.packets - before.packets, each.counted) << each.payload;
    EXPECT_EQ(after.bytes - before.bytes, frame.size() + (each.counted - 1) * 54) << each.payload;
  }
}

// Each segment repeats SCTP's common header, and not the chunk's.
TEST_F(Length, OfWhatSegmentationMakesOfSctp) {
  const auto port = fresh_port();
  expect(from_guest(ip4(kSctp, sctp(port, 80))), GRANTD_REASON_NEW_FLOW);
  Context offload;
  offload.gso_size = 100;
  offload.gso_segs = 10;
  const Bytes frame = ip4(kSctp, sctp(port, 80, 0) + zeros(984));  // of ten segments of 100 bytes of chunks
  const auto before = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED);
  ASSERT_TRUE(run(Hook::FromGuest, frame, interface_of("web"), offload).passes);
  const auto after = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED);
  EXPECT_EQ(after.packets - before.packets, 10U);
  EXPECT_EQ(after.bytes - before.bytes, frame.size() + std::size_t{9} * (14 + 20 + 12));
}

// Where the packet is no larger than IPv6 can say, the option is one like others: each segment repeats it.
TEST_F(Length, OfWhatSaysByAnOptionHowLargeItIs) {
  const auto port = fresh_port();
  expect(from_guest(ip6(kTcp, tcp(port, 80, kSyn))), GRANTD_REASON_NEW_FLOW);
  Context offload;
  offload.gso_size = 100;
  const Bytes frame = ip6(0, Bytes{kTcp, 0, 0xc2, 4, 0, 0, 4, 0} + tcp(port, 80, kAck, 1000));
  const auto before = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED);
  ASSERT_TRUE(run(Hook::FromGuest, frame, interface_of("web"), offload).passes);
  const auto after = counter(slot_of("bob"), GRANTD_EGRESS, GRANTD_REASON_ESTABLISHED);
  EXPECT_EQ(after.bytes - before.bytes, frame.size() + std::size_t{9} * (14 + 40 + 8 + 20));
}

// Only what is larger than its header can say may say nothing.
TEST_F(Length, OfWhatSaysThatItHasNone) {
  Bytes four = ip4(kTcp, tcp(fresh_port(), 80, kSyn, 1000)), six = ip6(kTcp, tcp(fresh_port(), 80, kSyn, 1000));
  four[16] = four[17] = six[18] = six[19] = 0;
  for (const std::uint32_t size : {0U, 100U}) {
    const auto why = [&](const Bytes& frame, grantd_reason reason) {
      Context offload;
      offload.gso_size = size;
      const auto before = counter(slot_of("bob"), GRANTD_EGRESS, reason).packets;
      EXPECT_FALSE(run(Hook::FromGuest, frame, interface_of("web"), offload).passes);
      return counter(slot_of("bob"), GRANTD_EGRESS, reason).packets - before;
    };
    EXPECT_EQ(why(four, GRANTD_REASON_MALFORMED), 1U) << size;
    EXPECT_EQ(why(six, GRANTD_REASON_TOO_SHORT), 1U) << size;
  }
}

}  // namespace
}  // namespace grantd::prog
