// Addresses that mean something of their own, and their neighbours that do not; group frames (rules 1 and 2).
#include "tests/prog/fixture.h"

#include <algorithm>

namespace grantd::prog {
namespace {

struct Case {
  const char* address;
  grantd_reason reason;
};

constexpr grantd_reason kMartian = GRANTD_REASON_MARTIAN, kMulticast = GRANTD_REASON_MULTICAST,
                        kLinkLocal = GRANTD_REASON_LINK_LOCAL, kNotNamed = GRANTD_REASON_DESTINATION,
                        kPort = GRANTD_REASON_DESTINATION_PORT;

constexpr Case kCases[] = {
    {"0.0.0.0", kMartian},
    {"0.255.255.255", kMartian},
    {"1.0.0.0", kPort},
    {"126.255.255.255", kPort},
    {"127.0.0.0", kMartian},
    {"127.255.255.255", kMartian},
    {"128.0.0.0", kPort},
    {"223.255.255.255", kPort},
    {"224.0.0.0", kMulticast},
    {"239.255.255.255", kMulticast},
    {"240.0.0.0", kMartian},
    {"241.0.0.0", kMartian},
    {"255.255.255.254", kMartian},
    {"255.255.255.255", GRANTD_REASON_BROADCAST},
    {"::", kMartian},
    {"::1", kMartian},
    {"::2", kNotNamed},
    {"::100", kNotNamed},
    {"::100:0", kNotNamed},
    {"::1:0:0", kNotNamed},
    {"::1:0:1", kNotNamed},
    {"0:0:1::", kNotNamed},
    {"0:0:1::1", kNotNamed},
    {"0:0:1:0:1::1", kNotNamed},
    {"1::", kNotNamed},
    {"1::1", kNotNamed},
    {"1:0:1::1", kNotNamed},
    {"::ffff:198.51.100.70", kMartian},
    {"::fffe:c633:6446", kNotNamed},
    {"::1:ffff:c633:6446", kNotNamed},
    {"0:0:0:1:0:ffff:c633:6446", kNotNamed},
    {"1::ffff:c633:6446", kNotNamed},
    {"0:1::ffff:c633:6446", kNotNamed},
    {"1:0:1::ffff:c633:6446", kNotNamed},
    {"::c633:6446:0:ffff", kNotNamed},
    {"fe7f::1", kNotNamed},
    {"fe80::1", kLinkLocal},
    {"febf:ffff::1", kLinkLocal},
    {"fec0::1", kNotNamed},
    {"0:0:fe80::1", kNotNamed},
    {"fe00::1", kNotNamed},
    {"feff::1", kNotNamed},
    {"ff00::1", kMulticast},
    {"ffff::1", kMulticast},
    {"ff::1", kNotNamed},
};

class SpecialAddress : public Prog {};

TEST_F(SpecialAddress, AsADestination) {
  for (const Case& each : kCases) {
    const bool six = std::string(each.address).find(':') != std::string::npos;
    expect(from_guest(frame_out(six ? kWeb6 : kWeb4, each.address, kTcp, tcp(fresh_port(), 7, kSyn))), each.reason,
           each.address);
  }
}

TEST_F(SpecialAddress, AsASource) {
  for (const Case& each : kCases) {
    const bool six = std::string(each.address).find(':') != std::string::npos;
    const grantd_reason reason =
        each.reason == kNotNamed || each.reason == kPort ? GRANTD_REASON_NEW_FLOW : each.reason;
    const Bytes frame = frame_in(each.address, six ? kWeb6 : kWeb4, kTcp, tcp(fresh_port(), 7, kSyn));
    expect(to_guest(frame, "bob"), reason, each.address);
  }
}

TEST_F(SpecialAddress, ItsOwnIsItsOwnInEveryWord) {
  const grantd_endpoint web = endpoint_of("web");
  grantd_endpoint more = web;
  const Bytes own = address("fd00:20:1234:5678:9abc:def0:8765:4321");
  std::copy(own.begin(), own.end(), more.ipv6[3].bytes);
  put_endpoint(more);
  const auto from = [&](const Bytes& source) {
    Bytes frame = frame_out(kWeb6, kBob6, kTcp, tcp(fresh_port(), 80, kSyn));
    std::copy(source.begin(), source.end(), frame.begin() + 14 + 8);
    return from_guest(frame);
  };
  expect(from(own), GRANTD_REASON_NEW_FLOW);
  for (std::ptrdiff_t word = 0; word < 4; word++)
    for (std::ptrdiff_t other = 0; other < 4; other++) {
      if (word == other) continue;
      Bytes near = own;
      std::copy_n(own.begin() + 4 * other, 4, near.begin() + 4 * word);
      expect(from(near), GRANTD_REASON_SOURCE_ADDRESS, std::to_string(word) + " as " + std::to_string(other));
    }
  put_endpoint(web);
}

TEST_F(SpecialAddress, GroupFrames) {
  const auto to = [&](const std::string& mac) {
    return from_guest(ethernet(mac, kGuestMac, 0x0800, ipv4({kWeb4, kBob4}, tcp(fresh_port(), 80, kSyn))));
  };
  for (const char* one :
       {"02:00:00:00:00:09", "00:00:00:00:00:00", "02:ff:ff:ff:ff:ff", "fe:ff:ff:ff:ff:ff", "00:01:01:01:01:01"})
    expect(to(one), GRANTD_REASON_NEW_FLOW, one);
  for (const char* group :
       {"01:00:00:00:00:00", "01:00:5e:00:00:01", "33:33:00:00:00:01", "03:ff:ff:ff:ff:ff", "fd:ff:ff:ff:ff:ff",
        "ff:fe:ff:ff:ff:ff", "ff:ff:7f:ff:ff:ff", "ff:ff:ff:00:ff:ff", "ff:ff:ff:ff:fe:ff", "ff:ff:ff:ff:ff:fe"})
    expect(to(group), GRANTD_REASON_MULTICAST, group);
  expect(to("ff:ff:ff:ff:ff:ff"), GRANTD_REASON_BROADCAST);
}

}  // namespace
}  // namespace grantd::prog
