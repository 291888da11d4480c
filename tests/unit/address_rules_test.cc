#include "agent/compile/address_rules.h"

#include "agent/compile/ranges.h"
#include "agent/compile/special_prefixes.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

using desired::address;
using desired::prefix;

CompiledRange tcp(std::uint16_t low, std::uint16_t high, std::uint16_t source = 1) {
  return {{Protocol::Tcp, low, high}, source};
}

// As the datapath answers: the longest match alone.
const CompiledRule* longest(const std::vector<CompiledRule>& rules, const IpAddress& at) {
  const CompiledRule* best = nullptr;
  for (const CompiledRule& rule : rules)
    if (rule.prefix.contains(at) && (!best || rule.prefix.length > best->prefix.length)) best = &rule;
  return best;
}

bool opens(const std::vector<CompiledRule>& rules, const std::string& at, Protocol protocol, std::uint16_t port) {
  const CompiledRule* rule = longest(rules, address(at));
  if (!rule) return false;
  for (const CompiledRange& range : rule->ranges)
    if (covers(range.range, {protocol, port, port})) return true;
  return false;
}

TEST(AddressRules, ALongerPrefixInheritsWhatAWiderOneOpens) {
  AddressRules rules;
  rules.open(prefix("198.51.100.0/24"), {tcp(443, 443)});
  rules.open(prefix("198.51.100.128/25"), {tcp(22, 22, 2)});
  const auto closed = rules.close();
  EXPECT_TRUE(opens(closed, "198.51.100.200", Protocol::Tcp, 22));
  EXPECT_TRUE(opens(closed, "198.51.100.200", Protocol::Tcp, 443));
  EXPECT_TRUE(opens(closed, "198.51.100.1", Protocol::Tcp, 443));
  EXPECT_FALSE(opens(closed, "198.51.100.1", Protocol::Tcp, 22));
}

TEST(AddressRules, AnEntryThatSaysTheSameAsItsParentDisappears) {
  AddressRules rules;
  rules.open(prefix("198.51.100.0/24"), {tcp(1, 1000)});
  rules.open(prefix("198.51.100.128/25"), {tcp(443, 443, 2)});
  ASSERT_EQ(rules.close().size(), 1U);
  EXPECT_EQ(rules.close()[0].prefix, prefix("198.51.100.0/24"));
}

TEST(AddressRules, OnlyAnEntryInsideAProtectedRangeOpensIt) {
  AddressRules rules;
  rules.protect(prefix("10.42.0.0/16"));
  rules.protect(prefix("10.42.0.1/32"));
  rules.open(prefix("0.0.0.0/0"), {tcp(0, 65535)});
  rules.open(prefix("10.42.0.0/24"), {tcp(80, 80, 2)});
  const auto closed = rules.close();
  EXPECT_TRUE(opens(closed, "8.8.8.8", Protocol::Tcp, 443));
  EXPECT_FALSE(opens(closed, "10.42.7.7", Protocol::Tcp, 443));
  EXPECT_TRUE(opens(closed, "10.42.0.9", Protocol::Tcp, 80));
  EXPECT_FALSE(opens(closed, "10.42.0.9", Protocol::Tcp, 443));
  EXPECT_FALSE(opens(closed, "10.42.0.1", Protocol::Tcp, 80)) << "the node's address inside the pod range";
}

TEST(AddressRules, AnEntryThatIsTheProtectedRangeOpensIt) {
  AddressRules rules;
  rules.protect(prefix("10.42.0.0/16"));
  rules.open(prefix("10.42.0.0/16"), {tcp(80, 80)});
  EXPECT_TRUE(opens(rules.close(), "10.42.7.7", Protocol::Tcp, 80));
}

TEST(AddressRules, TheInternetIsWhatIsGloballyReachable) {
  AddressRules rules;
  for (const IpPrefix& each : always_protected()) rules.protect(each);
  rules.open_internet({tcp(443, 443)});
  const auto closed = rules.close();
  for (const char* reachable : {"8.8.8.8", "1.1.1.1", "192.0.0.9", "2606:4700::1111", "2001:20::1", "100.128.0.1"})
    EXPECT_TRUE(opens(closed, reachable, Protocol::Tcp, 443)) << reachable;
  for (const char* not_reachable :
       {"10.1.2.3",   "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1",      "192.168.1.1",    "192.0.0.1",
        "198.18.0.1", "192.0.2.1",  "224.0.0.1", "240.0.0.1",       "255.255.255.255", "0.1.2.3",        "::1",
        "fe80::1",    "fd00::1",    "ff02::1",   "2001:db8::1",     "2002:a00:1::1",   "64:ff9b::a00:1", "2001::1"})
    EXPECT_FALSE(opens(closed, not_reachable, Protocol::Tcp, 443)) << not_reachable;
}

TEST(AddressRules, TheInternetsOwnEntriesOpenNothingThatIsProtected) {
  AddressRules rules;
  for (const char* each : {"192.0.0.9/32", "2001:30::/28", "2001:4:112::/47", "8.8.8.8/32"})
    rules.protect(prefix(each));
  rules.open_internet({tcp(443, 443)});
  rules.open(prefix("2001:4:112::2/128"), {tcp(22, 22, 2)});
  const auto closed = rules.close();
  for (const char* own : {"192.0.0.9", "2001:30::1", "2001:4:112::1", "2001:4:112::2", "8.8.8.8"})
    EXPECT_FALSE(opens(closed, own, Protocol::Tcp, 443)) << own;
  for (const char* reachable : {"192.0.0.10", "2001:20::1", "8.8.8.9"})
    EXPECT_TRUE(opens(closed, reachable, Protocol::Tcp, 443)) << reachable;
  EXPECT_TRUE(opens(closed, "2001:4:112::2", Protocol::Tcp, 22));
}

TEST(AddressRules, AnExplicitEntryBesideInternetOpensPrivateRanges) {
  AddressRules rules;
  rules.open_internet({tcp(443, 443)});
  rules.open(prefix("10.0.0.0/8"), {tcp(22, 22, 2)});
  const auto closed = rules.close();
  EXPECT_TRUE(opens(closed, "10.1.2.3", Protocol::Tcp, 22));
  EXPECT_FALSE(opens(closed, "10.1.2.3", Protocol::Tcp, 443));
}

// The model: a packet may pass if any entry that covers its address opens its port, and where
// a protected range covers it, only entries inside the narrowest such range count.
RC_GTEST_PROP(AddressRules, AreTheUnionOfTheEntriesThatCover, ()) {
  struct Entry {
    IpPrefix prefix;
    bool is_protected;
    std::uint16_t port;
  };
  const auto small_prefix = rc::gen::apply(
      [](std::uint8_t low, int length) {
        IpPrefix made{{Family::IPv4, {10, 0, 0, low}}, length};
        const unsigned mask = length == 32 ? 0xff : 0xff00U >> (length - 24);
        made.address.bytes[3] = static_cast<std::uint8_t>(low & mask);
        return made;
      },
      rc::gen::arbitrary<std::uint8_t>(), rc::gen::inRange(24, 33));
  const auto entry = rc::gen::apply(
      [](IpPrefix at, int dice, std::uint16_t port) {
        return Entry{at, dice == 0, static_cast<std::uint16_t>(1 + port)};
      },
      small_prefix, rc::gen::inRange(0, 4), rc::gen::inRange<std::uint16_t>(0, 4));
  const auto entries = *rc::gen::container<std::vector<Entry>>(entry);
  AddressRules rules;
  for (const Entry& each : entries) {
    if (each.is_protected)
      rules.protect(each.prefix);
    else
      rules.open(each.prefix, {tcp(each.port, each.port)});
  }
  const auto closed = rules.close();
  for (unsigned low = 0; low < 256; low++) {
    const IpAddress at{Family::IPv4, {10, 0, 0, static_cast<std::uint8_t>(low)}};
    int narrowest = 0;
    for (const Entry& each : entries)
      if (each.is_protected && each.prefix.contains(at)) narrowest = std::max(narrowest, each.prefix.length);
    for (std::uint16_t port = 1; port <= 4; port++) {
      bool expected = false;
      for (const Entry& each : entries)
        expected = expected || (!each.is_protected && each.port == port && each.prefix.contains(at) &&
                                each.prefix.length >= narrowest);
      RC_ASSERT(opens(closed, at.text(), Protocol::Tcp, port) == expected);
    }
  }
}

}  // namespace
}  // namespace grantd
