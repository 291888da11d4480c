// ICMP errors pass only when they quote a live, current flow of this endpoint (rule 9).
#include "tests/prog/fixture.h"

namespace grantd::prog {
namespace {

class IcmpError : public Prog {
 protected:
  void SetUp() override {
    port_ = fresh_port();
    expect(from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kSyn))), GRANTD_REASON_NEW_FLOW);
    expect(from_guest(frame_out(kWeb6, kBob6, kUdp, udp(port_, 53))), GRANTD_REASON_NEW_FLOW);
  }
  Bytes quote4(std::size_t payload = 0) { return ipv4({kWeb4, kBob4, kTcp, 0, 0, {}}, tcp(port_, 80, kSyn, payload)); }
  Bytes quote6() { return ipv6({kWeb6, kBob6, kUdp, 64}, udp(port_, 53)); }
  Bytes error4(const Bytes& quoted, std::uint8_t type = 3, const char* from = "198.18.0.1", const char* to = kWeb4) {
    return frame_in(from, to, kIcmp4, icmp(type, 4, 0, quoted));
  }
  std::uint16_t port_ = 0;
};

TEST_F(IcmpError, OfARouterOnTheWayPasses) {
  for (std::uint8_t type : Bytes{3, 11, 12}) expect(to_guest(error4(quote4(), type), ""), GRANTD_REASON_ICMP_ERROR);
  for (std::uint8_t type : Bytes{1, 2, 3, 4})
    expect(to_guest(frame_in("2001:db8:ffff::1", kWeb6, kIcmp6, icmp(type, 0, 0, quote6())), ""),
           GRANTD_REASON_ICMP_ERROR);
}

TEST_F(IcmpError, ThatQuotesNoFlowDrops) {
  expect(to_guest(error4(quote4()), ""), GRANTD_REASON_ICMP_ERROR);
  for (std::size_t at : {std::size_t{12}, std::size_t{16}, std::size_t{20}, std::size_t{22}, std::size_t{9}}) {
    Bytes quoted = quote4();
    quoted[at] ^= 3;  // source, destination, either port, protocol
    expect(to_guest(error4(quoted), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED, "byte " + std::to_string(at));
  }
  expect(to_guest(error4(zeros(28)), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED, "no quote at all");
  Bytes cut = quote4();
  cut.resize(27);
  expect(to_guest(error4(cut), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED, "seven bytes of TCP");
  Bytes options = quote4();
  options[0] = 0x46;
  expect(to_guest(error4(options), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED, "quoted options");
  Bytes later = quote4();
  later[7] = 1;
  expect(to_guest(error4(later), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED, "a quoted later fragment");
}

TEST_F(IcmpError, ThatQuotesAFlowOfAnOlderPolicyDrops) {
  expect(to_guest(error4(quote4()), ""), GRANTD_REASON_ICMP_ERROR);
  const auto before = republish([](grantd_policy&) {});
  expect(to_guest(error4(quote4()), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  expect(from_guest(frame_out(kWeb4, kBob4, kTcp, tcp(port_, 80, kAck))), GRANTD_REASON_ESTABLISHED,
         "judged anew, and current again");
  expect(to_guest(error4(quote4()), ""), GRANTD_REASON_ICMP_ERROR);
  restore(before);
  expect(to_guest(error4(quote4()), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

TEST_F(IcmpError, TheOtherWayRoundIsNoFlow) {
  const Bytes reversed = ipv4({kBob4, kWeb4, kTcp, 0, 0, {}}, tcp(80, port_, kSyn));
  expect(to_guest(error4(reversed), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

TEST_F(IcmpError, FromTheGuestGoesToTheFlowsPeerAlone) {
  const auto complain = [&](const char* to, const Bytes& quoted) {
    return from_guest(frame_out(kWeb4, to, kIcmp4, icmp(3, 3, 0, quoted)));
  };
  const Bytes received = ipv4({kBob4, kWeb4, kTcp, 0, 0, {}}, tcp(80, port_, kSyn | kAck));
  expect(complain(kBob4, received), GRANTD_REASON_ICMP_ERROR);
  for (const char* to : {kCarol4, kStranger4, kNode4})
    expect(complain(to, received), GRANTD_REASON_ICMP_ERROR_UNRELATED, to);
  expect(complain(kStranger4, ipv4({kStranger4, kWeb4, kTcp, 0, 0, {}}, tcp(80, port_, kSyn))),
         GRANTD_REASON_ICMP_ERROR_UNRELATED, "a quote that was made up");
  const Bytes frame = frame_out(kWeb4, kBob4, kIcmp4, icmp(3, 3, 0, received));
  expect(from_guest(frame), GRANTD_REASON_ICMP_ERROR);
  expect(from_guest(frame + zeros(1)), GRANTD_REASON_ICMP_ERROR_SIZE, "what stands behind it is no part of it");
  expect(complain(kBob4, quote4()), GRANTD_REASON_ICMP_ERROR_UNRELATED, "about its own packet");
}

TEST_F(IcmpError, ThatIsAFragmentDrops) {
  const auto error = [&](std::uint16_t fragment) {
    return ethernet(kGuestMac, kFarMac, 0x0800,
                    ipv4({"198.18.0.1", kWeb4, kIcmp4, 0, fragment, {}}, icmp(3, 4, 0, quote4())));
  };
  expect(to_guest(error(0), ""), GRANTD_REASON_ICMP_ERROR);
  expect(to_guest(error(0x2000), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

TEST_F(IcmpError, OfAPeersFlowWaitsForThatPeer) {
  const std::uint16_t port = fresh_port();
  const auto from_peer = [&](std::uint8_t flags, const std::string& identity) {
    return to_guest(frame_in(kBob4, kWeb4, kTcp, tcp(port, 8080, flags)), identity);
  };
  const Bytes error = error4(ipv4({kWeb4, kBob4, kTcp, 0, 0, {}}, tcp(8080, port, kAck)));
  expect(from_peer(kSyn, "bob"), GRANTD_REASON_NEW_FLOW);
  expect(to_guest(error, ""), GRANTD_REASON_ICMP_ERROR);
  expect(from_peer(kAck, ""), GRANTD_REASON_NOBODY, "another sender on the same port");
  expect(to_guest(error, ""), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  expect(from_peer(kAck, "bob"), GRANTD_REASON_ESTABLISHED);
  expect(to_guest(error, ""), GRANTD_REASON_ICMP_ERROR);
}

TEST_F(IcmpError, IsBoundedInSize) {
  expect(to_guest(error4(quote4(1280 - 20 - 8 - 20 - 20)), ""), GRANTD_REASON_ICMP_ERROR);
  expect(to_guest(error4(quote4(1281 - 20 - 8 - 20 - 20)), ""), GRANTD_REASON_ICMP_ERROR_SIZE);
}

TEST_F(IcmpError, RedirectsDrop) {
  expect(to_guest(error4(quote4(), 5), ""), GRANTD_REASON_ICMP_REDIRECT);
  expect(to_guest(frame_in("2001:db8:ffff::1", kWeb6, kIcmp6, icmp(137, 0, 0, quote6())), ""),
         GRANTD_REASON_ICMP_REDIRECT);
  expect(from_guest(frame_out(kWeb4, kBob4, kIcmp4, icmp(5, 0, 0, quote4()))), GRANTD_REASON_ICMP_REDIRECT);
}

TEST_F(IcmpError, OfAnotherGuestsFlowDrops) {
  expect(to_guest(error4(quote4(), 3, "198.18.0.1", kDb4), "", "db"), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  const Bytes for_db = ipv4({kDb4, kBob4, kTcp, 0, 0, {}}, tcp(port_, 80, kSyn));
  expect(to_guest(error4(for_db, 3, "198.18.0.1", kDb4), "", "db"), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

// The rest of the quote stands behind the end of the packet, where a frame may have anything.
TEST_F(IcmpError, ThatQuotesTooLittleDropsWhateverFollowsIt) {
  const auto error6 = [](const Bytes& quoted) {
    return frame_in("2001:db8:ffff::1", kWeb6, kIcmp6, icmp(2, 0, 0, quoted));
  };
  const auto first = [](std::size_t bytes, const Bytes& of) { return Bytes(of.begin(), of.begin() + long(bytes)); };
  const auto rest = [](std::size_t bytes, const Bytes& of) { return Bytes(of.begin() + long(bytes), of.end()); };
  const Bytes fragment = ipv6({kWeb6, kBob6, 44, 64}, Bytes{kUdp, 0, 0, 1, 0, 0, 0, 7} + udp(port_, 53));
  expect(to_guest(error4(quote4()), ""), GRANTD_REASON_ICMP_ERROR);
  for (std::size_t bytes = 0; bytes < 28; bytes++)
    expect(to_guest(error4(first(bytes, quote4())) + rest(bytes, quote4()), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED,
           std::to_string(bytes));
  for (const Bytes& quoted : {quote6(), fragment}) {
    expect(to_guest(error6(quoted), ""), GRANTD_REASON_ICMP_ERROR);
    for (std::size_t bytes = 0; bytes < quoted.size(); bytes++)
      expect(to_guest(error6(first(bytes, quoted)) + rest(bytes, quoted), ""), GRANTD_REASON_ICMP_ERROR_UNRELATED,
             std::to_string(bytes));
  }
}

// The ports would be what stands behind the message in the frame.
TEST_F(IcmpError, ThatQuotesExtensionHeadersAloneDropsWhateverFollowsIt) {
  const Bytes ports = udp(port_, 53), headers = ipv6({kWeb6, kBob6, 60, 64}, extension(kUdp) + ports),
              cut(headers.begin(), headers.end() - static_cast<std::ptrdiff_t>(ports.size()));
  const auto error = [&](const Bytes& quoted) {
    return frame_in("2001:db8:ffff::1", kWeb6, kIcmp6, icmp(1, 0, 0, quoted));
  };
  expect(to_guest(error(headers), ""), GRANTD_REASON_ICMP_ERROR);
  expect(to_guest(error(cut) + ports, ""), GRANTD_REASON_ICMP_ERROR_UNRELATED);
}

TEST_F(IcmpError, QuotedEchoes) {
  const Bytes request = icmp(8, 0, port_);
  expect(from_guest(frame_out(kWeb4, kBob4, kIcmp4, request)), GRANTD_REASON_NEW_FLOW);
  const auto about = [&](const Bytes& echo) {
    return to_guest(error4(ipv4({kWeb4, kBob4, kIcmp4, 0, 0, {}}, echo)), "");
  };
  expect(about(request), GRANTD_REASON_ICMP_ERROR);
  expect(about(icmp(8, 0, static_cast<std::uint16_t>(port_ + 9000))), GRANTD_REASON_ICMP_ERROR_UNRELATED);
  expect(about(icmp(3, 0, port_)), GRANTD_REASON_ICMP_ERROR_UNRELATED, "an error about an error");
}

}  // namespace
}  // namespace grantd::prog
