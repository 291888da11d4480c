// What opens at least as much as what is in force.
#include "agent/plan/width.h"

#include "agent/plan/encode.h"
#include "maps/abi/policy.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

#include <algorithm>
#include <functional>

namespace grantd {
namespace {

using operation::PutRules;

constexpr BootNanoseconds kNow = 1000;

grantd_ranges ports(std::uint8_t protocol, std::uint16_t low, std::uint16_t high) {
  grantd_ranges ranges{};
  ranges.count = 1;
  ranges.range[0] = {protocol, 0, 0, low, high};
  return ranges;
}

const grantd_ranges kAll = ports(0, 0, 65535), kWeb = ports(IPPROTO_TCP, 443, 443);
const grantd_ranges kHole{};

std::pair<grantd_rule_key, grantd_ranges> at(const char* prefix, const grantd_ranges& ranges,
                                             std::uint8_t direction = GRANTD_EGRESS) {
  grantd_rule_key key = encode_rule_key(1, IpPrefix::parse(prefix).value());
  key.direction = direction;
  return {key, ranges};
}

PutRules rules(std::initializer_list<std::pair<grantd_rule_key, grantd_ranges>> all) { return {1, 0, all, {}}; }

TEST(WidthOfRules, TheSameAndMore) {
  const PutRules current = rules({at("10.0.0.0/8", kWeb)});
  EXPECT_TRUE(opens_as_much(current, current));
  EXPECT_TRUE(opens_as_much(rules({at("10.0.0.0/8", kAll)}), current));
  EXPECT_TRUE(opens_as_much(rules({at("10.0.0.0/8", kWeb), at("9.0.0.0/8", kWeb), at("11.0.0.0/8", kWeb)}), current));
  EXPECT_TRUE(opens_as_much(current, rules({})));
  EXPECT_FALSE(opens_as_much(rules({}), current));
}

// Wherever it stands among the others.
TEST(WidthOfRules, APrefixLess) {
  const PutRules current = rules({at("10.0.0.0/8", kWeb), at("20.0.0.0/8", kWeb), at("30.0.0.0/8", kWeb)});
  for (std::size_t missing = 0; missing < current.rules.size(); missing++) {
    PutRules wanted = current;
    wanted.rules.erase(wanted.rules.begin() + static_cast<std::ptrdiff_t>(missing));
    EXPECT_FALSE(opens_as_much(wanted, current)) << missing;
    EXPECT_TRUE(opens_as_much(current, wanted)) << missing;
  }
}

TEST(WidthOfRules, PortsAndProtocols) {
  const PutRules current = rules({at("10.0.0.0/8", ports(IPPROTO_UDP, 50, 60))});
  const auto with = [&](const grantd_ranges& ranges) {
    return opens_as_much(rules({at("10.0.0.0/8", ranges)}), current);
  };
  EXPECT_TRUE(with(ports(IPPROTO_UDP, 49, 61)));
  EXPECT_TRUE(with(ports(0, 50, 60)));
  EXPECT_FALSE(with(ports(IPPROTO_TCP, 50, 60)));
  EXPECT_FALSE(with(ports(IPPROTO_UDP, 51, 60)));
  EXPECT_FALSE(with(ports(IPPROTO_UDP, 50, 59)));
  EXPECT_FALSE(opens_as_much(current, rules({at("10.0.0.0/8", ports(0, 50, 60))})));
}

TEST(WidthOfRules, AHoleInAWiderOne) {
  const PutRules whole = rules({at("10.0.0.0/8", kAll)});
  const PutRules pierced = rules({at("10.0.0.0/8", kAll), at("10.1.0.0/16", kHole)});
  EXPECT_FALSE(opens_as_much(pierced, whole));
  EXPECT_TRUE(opens_as_much(whole, pierced));
  const PutRules filled = rules({at("10.0.0.0/8", kAll), at("10.1.0.0/16", kHole), at("10.1.2.0/24", kAll)});
  EXPECT_TRUE(opens_as_much(filled, pierced));
  EXPECT_FALSE(opens_as_much(pierced, filled));
}

TEST(WidthOfRules, TheOtherDirectionAndTheOtherFamilyAreOthers) {
  const PutRules current = rules({at("10.0.0.0/8", kAll)});
  EXPECT_FALSE(opens_as_much(rules({at("10.0.0.0/8", kAll, GRANTD_INGRESS)}), current));
  EXPECT_FALSE(opens_as_much(rules({at("a00::/8", kAll)}), current));
}

TEST(WidthOfRules, OfIdentities) {
  PutRules current = rules({}), wanted = rules({});
  current.identity_rules = {{{1, 7, GRANTD_EGRESS}, kWeb}};
  EXPECT_FALSE(opens_as_much(wanted, current));
  wanted.identity_rules = {{{2, 7, GRANTD_EGRESS}, kAll}};
  EXPECT_TRUE(opens_as_much(wanted, current)) << "by whichever number they go";
  EXPECT_FALSE(opens_as_much(current, wanted));
  wanted.identity_rules = {{{2, 7, GRANTD_INGRESS}, kAll}, {{2, 8, GRANTD_EGRESS}, kAll}};
  EXPECT_FALSE(opens_as_much(wanted, current));
}

template <typename Record>
struct Change {
  const char* what;
  std::function<void(Record&)> change;
  bool as_wide;
};

grantd_policy policy() {
  grantd_policy policy{};
  policy.not_before_ns = 500;
  policy.not_after_ns = 5000;
  policy.identity = 7;
  policy.slot = 3;
  for (grantd_limit& each : policy.limit) {
    each.rate_bps = 100;
    each.burst_bytes = 10;
  }
  return policy;
}

const Change<grantd_policy> kPolicyChanges[] = {
    {"nothing", [](auto&) {}, true},
    {"a later end", [](auto& each) { each.not_after_ns++; }, true},
    {"an earlier end", [](auto& each) { each.not_after_ns--; }, false},
    {"a later begin, which is over", [](auto& each) { each.not_before_ns = kNow; }, true},
    {"a begin that is to come", [](auto& each) { each.not_before_ns = kNow + 1; }, false},
    {"a higher rate", [](auto& each) { each.limit[GRANTD_EGRESS].rate_bps++; }, true},
    {"a lower rate", [](auto& each) { each.limit[GRANTD_EGRESS].rate_bps--; }, false},
    {"a lower rate, ingress", [](auto& each) { each.limit[GRANTD_INGRESS].rate_bps--; }, false},
    {"a larger burst", [](auto& each) { each.limit[GRANTD_INGRESS].burst_bytes++; }, true},
    {"a smaller burst", [](auto& each) { each.limit[GRANTD_INGRESS].burst_bytes--; }, false},
    {"no limit", [](auto& each) { each.limit[GRANTD_EGRESS] = {}; }, true},
    {"another identity", [](auto& each) { each.identity++; }, false},
    {"another slot", [](auto& each) { each.slot++; }, false},
};

TEST(WidthOfAPolicy, ByWhatChanges) {
  for (const auto& [what, change, as_wide] : kPolicyChanges) {
    grantd_policy wanted = policy();
    change(wanted);
    EXPECT_EQ(opens_as_much(wanted, policy(), kNow), as_wide) << what;
  }
}

TEST(WidthOfAPolicy, ALimitWhereThereWasNoneIsLess) {
  grantd_policy current = policy();
  current.limit[GRANTD_EGRESS] = {};
  EXPECT_FALSE(opens_as_much(policy(), current, kNow));
}

TEST(WidthOfAPolicy, WhatHasEndedOpensNothing) {
  grantd_policy wanted = policy();
  wanted.limit[GRANTD_EGRESS].rate_bps = 1;
  wanted.not_after_ns = 0;
  EXPECT_FALSE(opens_as_much(wanted, policy(), policy().not_after_ns - 1));
  EXPECT_TRUE(opens_as_much(wanted, policy(), policy().not_after_ns));
}

grantd_endpoint endpoint() {
  grantd_endpoint record{};
  record.slot = 3;
  record.endpoint_id = 9;
  record.ipv4[0] = 4;
  record.ipv6[0].bytes[15] = 6;
  record.mac[5] = 1;
  record.link_local.bytes[0] = 0xfe;
  return record;
}

const Change<grantd_endpoint> kEndpointChanges[] = {
    {"nothing", [](auto&) {}, true},
    {"an address more", [](auto& each) { each.ipv4[1] = 5; }, true},
    {"its address in another place", [](auto& each) { std::swap(each.ipv4[0], each.ipv4[1]); }, true},
    {"another IPv4 address", [](auto& each) { each.ipv4[0] = 5; }, false},
    {"an IPv6 address more", [](auto& each) { each.ipv6[1].bytes[15] = 7; }, true},
    {"another IPv6 address", [](auto& each) { each.ipv6[0].bytes[15] = 7; }, false},
    {"quarantine", [](auto& each) { each.slot = 0; }, false},
    {"another slot", [](auto& each) { each.slot++; }, false},
    {"another guest", [](auto& each) { each.endpoint_id++; }, false},
    {"other flags", [](auto& each) { each.flags ^= GRANTD_ENDPOINT_HOST_NETWORK; }, false},
    {"another MAC address", [](auto& each) { each.mac[5]++; }, false},
    {"another link-local address", [](auto& each) { each.link_local.bytes[15]++; }, false},
};

TEST(WidthOfAnEndpoint, ByWhatChanges) {
  for (const auto& [what, change, as_wide] : kEndpointChanges) {
    grantd_endpoint wanted = endpoint();
    change(wanted);
    EXPECT_EQ(opens_as_much(wanted, endpoint()), as_wide) << what;
  }
}

TEST(WidthOfAnEndpoint, InQuarantineNothingIsOpen) {
  grantd_endpoint current = endpoint();
  current.slot = 0;
  EXPECT_TRUE(opens_as_much(grantd_endpoint{}, current));
  EXPECT_TRUE(opens_as_much(endpoint(), current));
}

}  // namespace
}  // namespace grantd
