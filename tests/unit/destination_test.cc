#include "crd-sync/destination.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

using Kind = Destination::Kind;
const PortRange kAll{};

std::vector<PortRange> both(std::uint16_t low, std::uint16_t high) {
  return {{Protocol::Tcp, low, high}, {Protocol::Udp, low, high}};
}

TEST(Destination, ReadsEveryForm) {
  const struct {
    const char* text;
    Kind kind;
    const char* host;
    std::vector<PortRange> ranges;
  } cases[] = {
      {"198.51.100.0/24:443/TCP", Kind::Prefix, "198.51.100.0/24", {{Protocol::Tcp, 443, 443}}},
      {"198.51.100.7", Kind::Prefix, "198.51.100.7/32", {kAll}},
      {"198.51.100.7:80", Kind::Prefix, "198.51.100.7/32", both(80, 80)},
      {"198.51.100.7:80-90", Kind::Prefix, "198.51.100.7/32", both(80, 90)},
      {"198.51.100.7:80-90/SCTP", Kind::Prefix, "198.51.100.7/32", {{Protocol::Sctp, 80, 90}}},
      {"198.51.100.7:ICMP", Kind::Prefix, "198.51.100.7/32", {{Protocol::Icmp}}},
      {"0.0.0.0/0", Kind::Prefix, "0.0.0.0/0", {kAll}},
      {"[2001:db8::/32]:53/UDP", Kind::Prefix, "2001:db8::/32", {{Protocol::Udp, 53, 53}}},
      {"[2001:db8::1]", Kind::Prefix, "2001:db8::1/128", {kAll}},
      {"2001:db8::/32", Kind::Prefix, "2001:db8::/32", {kAll}},
      {"::1", Kind::Prefix, "::1/128", {kAll}},
      {"realm:carol", Kind::Realm, "carol", {kAll}},
      {"realm:carol.example.org:443", Kind::Realm, "carol.example.org", both(443, 443)},
      {"realm:internet", Kind::Realm, "internet", {kAll}},
      {"carol", Kind::Realm, "carol", {kAll}},
      {"carol:22/TCP", Kind::Realm, "carol", {{Protocol::Tcp, 22, 22}}},
      {"carol:TCP", Kind::Realm, "carol", {{Protocol::Tcp}}},
      {"internet", Kind::Internet, "", {kAll}},
      {"internet:443/TCP", Kind::Internet, "", {{Protocol::Tcp, 443, 443}}},
      {"service:default/web:80/TCP", Kind::Service, "default/web", {{Protocol::Tcp, 80, 80}}},
      {"198.51.100.7:1-65535/UDP", Kind::Prefix, "198.51.100.7/32", {{Protocol::Udp, 1, 65535}}},
  };
  for (const auto& test : cases) {
    const auto destination = parse_destination(test.text);
    ASSERT_TRUE(destination) << test.text << " " << destination.error().message;
    EXPECT_EQ(destination.value().kind, test.kind) << test.text;
    EXPECT_EQ(test.kind == Kind::Prefix ? destination.value().prefix.text() : destination.value().name, test.host);
    EXPECT_EQ(destination.value().ranges, test.ranges) << test.text;
    EXPECT_EQ(destination.value().text, test.text);
  }
}

TEST(Destination, RefusesEverythingElse) {
  for (const char* text : {"",
                           " ",
                           "*",
                           "0.0.0.0/0:",
                           "1.2.3.4:0",
                           "1.2.3.4:65536",
                           "1.2.3.4:080",
                           "1.2.3.4:90-80",
                           "1.2.3.4:80-",
                           "1.2.3.4:-80",
                           "1.2.3.4:80/",
                           "1.2.3.4:80/tcp",
                           "1.2.3.4:80/GRE",
                           "1.2.3.4:80/TCP/UDP",
                           "1.2.3.4:80,90",
                           "1.2.3.4/24",
                           "10.0.0",
                           "10.0.0.256",
                           "1.2.3.4 :80",
                           "1.2.3.4: 80",
                           "[1.2.3.4]:80",
                           "[2001:db8::1",
                           "[::1]80",
                           "[::1]x:80",
                           "2001:db8::1/32",
                           "[2001:db8::1]:",
                           "realm:",
                           "realm::80",
                           "realm:Carol",
                           "realm:-x",
                           "Carol",
                           "example.com",
                           "example.com:443",
                           "service:web",
                           "service:/web",
                           "service:a/",
                           "service:a/b/c",
                           "fqdn:example.com",
                           "http://example.com",
                           "1.2.3.4:7/ICMP",
                           "1.2.3.4:8/ICMP",
                           "[2001:db8::1]:128/ICMP",
                           "1.2.3.4:8-9/ICMP",
                           "::ffff:1.2.3.4",
                           "carol\n",
                           "443",
                           "carol:*"})
    EXPECT_FALSE(parse_destination(text)) << text;
}

TEST(Destination, AUrlIsCalledOne) {
  for (const char* text : {"https://example.com", "http://192.0.2.1:80/x"}) {
    const auto parsed = parse_destination(text);
    ASSERT_FALSE(parsed) << text;
    EXPECT_TRUE(parsed.error().message.starts_with("is a URL")) << parsed.error().message;
  }
}

TEST(Destination, WhatNoPacketOnAWireMayHaveIsNeverGranted) {
  for (const char* text :
       {"0.0.0.0",     "0.1.2.3:80/TCP", "0.0.0.0/8",   "127.0.0.1",   "127.0.0.0/8",    "224.0.0.1",
        "224.0.0.0/4", "239.255.0.0/16", "224.0.0.0/3", "240.0.0.0/4", "250.1.2.3",      "255.255.255.255:67/UDP",
        "::",          "[::1]:443",      "::/127",      "fe80::1",     "febf:ffff::/32", "fe80::/10",
        "ff02::1",     "ff00::/8"}) {
    const auto destination = parse_destination(text);
    ASSERT_TRUE(destination) << text << " " << destination.error().message;
    EXPECT_NE(never_granted(destination.value()), "") << text;
  }
  for (const char* text :
       {"0.0.0.0/0", "0.0.0.0/7", "1.0.0.0", "126.0.0.0/7", "128.0.0.1", "169.254.169.254", "192.0.0.0/2",
        "223.255.255.255", "::/0", "::2", "::/126", "fe00::/8", "fec0::1", "internet", "realm:carol", "service:a/b"}) {
    const auto destination = parse_destination(text);
    ASSERT_TRUE(destination) << text << " " << destination.error().message;
    EXPECT_EQ(never_granted(destination.value()), "") << text;
  }
}

TEST(Destination, HostBitsNameTheCanonicalForm) {
  const auto destination = parse_destination("198.51.100.7/24:443/TCP");
  ASSERT_FALSE(destination);
  EXPECT_NE(destination.error().message.find("198.51.100.0/24"), std::string::npos);
}

RC_GTEST_PROP(Destination, AnyTextIsReadOrRefusedWithoutHarm, ()) {
  const auto text =
      *rc::gen::container<std::string>(rc::gen::elementOf(std::string("0123456789abcdef.:/[]-realmTCPUDI")));
  const auto destination = parse_destination(text);
  if (destination) {
    RC_ASSERT(!destination.value().ranges.empty());
    RC_ASSERT(destination.value().text == text);
    for (const PortRange& range : destination.value().ranges) RC_ASSERT(range.low <= range.high);
  }
}

}  // namespace
}  // namespace grantd
