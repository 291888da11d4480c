// CHECK: whatever is not as ADD has left it is named.
#include "agent/cni/compare.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

namespace grantd {
namespace {

using testing::HasSubstr;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }
MacAddress mac(const char* text) { return MacAddress::parse(text).value(); }

const MacAddress kMac = mac("02:00:00:00:00:03");
const std::vector<IpAddress> kAddresses{address("10.42.0.7"), address("fd00::7")};

TEST(CniCompare, WhatTheResultSaysIsThere) {
  const ResultInterface result{kAddresses, "02:00:00:00:00:03"};
  EXPECT_EQ(differs_from_result(result, kMac, kAddresses), "");
  EXPECT_EQ(differs_from_result(result, kMac, {address("fd00::8"), kAddresses[1], kAddresses[0]}), "");
  EXPECT_EQ(differs_from_result({kAddresses, ""}, kMac, kAddresses), "") << "a result need not tell the MAC";
  EXPECT_EQ(differs_from_result({{address("fe80::7")}, ""}, kMac, {}), "") << "not asked for";

  EXPECT_EQ(differs_from_result(result, kMac, {kAddresses[0]}), "it has not the address fd00::7 but 10.42.0.7");
  EXPECT_EQ(differs_from_result(result, kMac, {}), "it has not the address 10.42.0.7 but none");
  EXPECT_EQ(differs_from_result(result, mac("02:00:00:00:00:04"), kAddresses),
            "its MAC is 02:00:00:00:00:04, told was 02:00:00:00:00:03");
  EXPECT_EQ(differs_from_result(result, std::nullopt, kAddresses), "its MAC is none, told was 02:00:00:00:00:03");
  EXPECT_THAT(differs_from_result({kAddresses, "unknown"}, kMac, kAddresses), HasSubstr("told was unknown"));
}

TEST(CniCompare, EachFieldOfTheRecordCounts) {
  CniRecord record;
  record.network = "cbr0";
  record.netns = "/run/netns/cni-1";
  record.pod_namespace = "guest-bob";
  record.pod_name = "web";
  record.pod_uid = "0a1b";
  record.host_interface = "veth0a1b";
  record.ifindex = 12;
  record.guest_mac = kMac;
  record.addresses = kAddresses;
  CniRecord same = record;
  std::swap(same.addresses[0], same.addresses[1]);
  EXPECT_EQ(differs_from_record(record, same), "");

  const auto with = [&](const std::function<void(CniRecord&)>& change) {
    CniRecord changed = record;
    change(changed);
    return differs_from_record(record, changed);
  };
  EXPECT_EQ(with([](auto& each) { each.network = "other"; }), "network: recorded is other, found cbr0");
  EXPECT_THAT(with([](auto& each) { each.netns = "/run/netns/cni-2"; }), HasSubstr("network namespace: recorded is"));
  EXPECT_THAT(with([](auto& each) { each.pod_namespace = "guest-eve"; }), HasSubstr("pod: recorded is guest-eve/web"));
  EXPECT_THAT(with([](auto& each) { each.pod_name = "db"; }), HasSubstr("pod: recorded is guest-bob/db"));
  EXPECT_THAT(with([](auto& each) { each.pod_uid = "2c3d"; }), HasSubstr("uid '2c3d'"));
  EXPECT_THAT(with([](auto& each) { each.host_interface = "veth9"; }), HasSubstr("recorded is veth9, index 12"));
  EXPECT_THAT(with([](auto& each) { each.ifindex = 13; }), HasSubstr("veth0a1b, index 13, found veth0a1b, index 12"));
  EXPECT_THAT(with([](auto& each) { each.guest_mac.reset(); }), HasSubstr("MAC: recorded is none"));
  EXPECT_THAT(with([](auto& each) { each.addresses.pop_back(); }),
              HasSubstr("addresses: recorded is 10.42.0.7, found"));
}

}  // namespace
}  // namespace grantd
