#include "maps/address.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

TEST(IpAddress, ReadsAndWritesBothFamilies) {
  for (const char* text : {"0.0.0.0", "255.255.255.255", "198.51.100.7", "::", "::1", "2001:db8::1", "fe80::1"}) {
    const auto address = IpAddress::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address.value().text(), text);
  }
  EXPECT_EQ(IpAddress::parse("2001:0DB8:0:0:0:0:0:1").value().text(), "2001:db8::1");
}

TEST(IpAddress, RefusesEverythingElse) {
  using namespace std::string_view_literals;
  for (const std::string_view text :
       {""sv, "1"sv, "1.2.3"sv, "1.2.3.4.5"sv, "1.2.3.256"sv, "01.2.3.4"sv, "1.2.3.4 "sv, " 1.2.3.4"sv, "1.2.3."sv,
        "1.2.3.4."sv, "0x1.2.3.4"sv, "+1.2.3.4"sv, "::g"sv, "fe80::1%eth0"sv, "2001:db8::1::2"sv, "::1\0"sv,
        "1.2.3.4\0"sv, "[::1]"sv, "1.2.3.4/32"sv})
    EXPECT_FALSE(IpAddress::parse(text)) << text;
}

TEST(IpAddress, RefusesMappedAddressesAndSaysHowToWriteThem) {
  const auto address = IpAddress::parse("::ffff:192.0.2.1");
  ASSERT_FALSE(address);
  EXPECT_NE(address.error().message.find("192.0.2.1"), std::string::npos);
}

RC_GTEST_PROP(IpAddress, TextAndMappedFormComeBack, ()) {
  IpAddress address;
  address.family = *rc::gen::element(Family::IPv4, Family::IPv6);
  const std::size_t size = address.family == Family::IPv4 ? 4 : 16;
  for (std::size_t index = 0; index < size; ++index) address.bytes[index] = *rc::gen::arbitrary<std::uint8_t>();
  RC_PRE(address.family == Family::IPv4 || IpAddress::from_mapped(address.mapped()).family == Family::IPv6);
  RC_ASSERT(IpAddress::parse(address.text()).value() == address);
  RC_ASSERT(IpAddress::from_mapped(address.mapped()) == address);
}

TEST(IpPrefix, ReadsAddressesAndPrefixes) {
  EXPECT_EQ(IpPrefix::parse("10.0.0.0/8").value().text(), "10.0.0.0/8");
  EXPECT_EQ(IpPrefix::parse("10.0.0.1").value().text(), "10.0.0.1/32");
  EXPECT_EQ(IpPrefix::parse("0.0.0.0/0").value().text(), "0.0.0.0/0");
  EXPECT_EQ(IpPrefix::parse("2001:db8::/32").value().text(), "2001:db8::/32");
  EXPECT_EQ(IpPrefix::parse("2001:db8::5").value().text(), "2001:db8::5/128");
  EXPECT_EQ(IpPrefix::parse("::/0").value().text(), "::/0");
}

TEST(IpPrefix, HostBitsAreAnErrorThatNamesTheCanonicalForm) {
  for (const auto& [text, canonical] :
       {std::pair{"10.1.2.3/8", "10.0.0.0/8"}, std::pair{"192.0.2.129/25", "192.0.2.128/25"},
        std::pair{"2001:db8::1/64", "2001:db8::/64"}, std::pair{"128.0.0.0/0", "0.0.0.0/0"}}) {
    const auto prefix = IpPrefix::parse(text);
    ASSERT_FALSE(prefix) << text;
    EXPECT_NE(prefix.error().message.find(canonical), std::string::npos) << prefix.error().message;
  }
}

TEST(IpPrefix, RefusesBadLengths) {
  for (const char* text : {"10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/08", "10.0.0.0/8/8", "::/129", "/8",
                           "10.0.0.0/ 8", "10.0.0.0/255.0.0.0", "10.0.0.0/99999999999"})
    EXPECT_FALSE(IpPrefix::parse(text)) << text;
}

TEST(IpPrefix, ContainsAndOverlaps) {
  const auto prefix = [](const char* text) { return IpPrefix::parse(text).value(); };
  EXPECT_TRUE(prefix("10.0.0.0/8").contains(prefix("10.1.0.0/16")));
  EXPECT_FALSE(prefix("10.1.0.0/16").contains(prefix("10.0.0.0/8")));
  EXPECT_TRUE(prefix("10.1.0.0/16").overlaps(prefix("10.0.0.0/8")));
  EXPECT_FALSE(prefix("10.1.0.0/16").overlaps(prefix("10.2.0.0/16")));
  EXPECT_TRUE(prefix("192.0.2.128/25").contains(IpAddress::parse("192.0.2.200").value()));
  EXPECT_FALSE(prefix("192.0.2.128/25").contains(IpAddress::parse("192.0.2.100").value()));
  EXPECT_FALSE(prefix("0.0.0.0/0").contains(prefix("::/0")));
  EXPECT_TRUE(prefix("::/0").contains(IpAddress::parse("2001:db8::1").value()));
}

RC_GTEST_PROP(IpPrefix, ContainsExactlyWhatSharesItsBits, (std::uint32_t one, std::uint32_t other)) {
  const int length = *rc::gen::inRange(0, 33);
  const std::uint32_t mask = length == 0 ? 0 : ~std::uint32_t{0} << (32 - length);
  const auto address = [](std::uint32_t value) {
    IpAddress result;
    for (std::size_t index = 0; index < 4; ++index)
      result.bytes[index] = static_cast<std::uint8_t>(value >> (24 - 8 * index));
    return result;
  };
  if (*rc::gen::arbitrary<bool>()) other = (one & mask) | (other & ~mask);
  const IpPrefix prefix{address(one & mask), length};
  RC_ASSERT(prefix.contains(address(other)) == ((one & mask) == (other & mask)));
  RC_ASSERT(IpPrefix::parse(prefix.text()).value() == prefix);
  RC_ASSERT(IpPrefix::parse(address(one).text() + "/" + std::to_string(length)).ok() == ((one & ~mask) == 0));
}

TEST(MacAddress, ReadsWritesAndFormsLinkLocal) {
  const auto mac = MacAddress::parse("02:00:5E:10:00:fF");
  ASSERT_TRUE(mac);
  EXPECT_EQ(mac.value().text(), "02:00:5e:10:00:ff");
  EXPECT_EQ(mac.value().link_local().text(), "fe80::5eff:fe10:ff");
  EXPECT_EQ(MacAddress::parse("00:11:22:33:44:55").value().link_local().text(), "fe80::211:22ff:fe33:4455");
  for (const char* text : {"", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "02-00-5e-10-00-ff", "02:00:5e:10:00:fg",
                           "2:00:5e:10:00:ff:", "02005e1000ff", "0x:00:5e:10:00:ff", "+1:00:5e:10:00:ff"})
    EXPECT_FALSE(MacAddress::parse(text)) << text;
}

}  // namespace
}  // namespace grantd
