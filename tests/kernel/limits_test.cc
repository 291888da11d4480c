// The limits of the node on real maps: what reaches one is refused and closed, what was in force stays, and
// maps that are pinned already keep their size.
#include "agent/apply/map_sizes.h"
#include "agent/snapshot/read_snapshot.h"
#include "tests/kernel/private_node.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kOpen = "203.0.113.7";
const Probe kHttps{Protocol::Tcp, 443};

// Grant "aaa", first by name, for the guest that was an orphan; it opens what Grant bob opens.
DesiredState with_aaa() {
  DesiredState desired = PrivateNode::default_state();
  Grant aaa = desired.grants[0];
  aaa.name = aaa.spec_hash = "aaa";
  desired.grants.insert(desired.grants.begin(), aaa);
  desired.workloads.back().grant = aaa.key();
  return desired;
}

std::vector<std::string> refused(const CompiledPolicy& policy) {
  std::vector<std::string> keys;
  for (const RefusedGrant& each : policy.refused) keys.push_back(each.key);
  return keys;
}

grantd_bound bound(const PrivateNode& node, grantd_bound_kind kind) {
  auto read = read_snapshot(node.maps(), {});
  EXPECT_TRUE(read.ok());
  return read.value().bounds[kind];
}

// Grant bob opens many addresses, even or odd ones, so that nearly all rules are in one map.
DesiredState with_many_rules(int odd) {
  DesiredState desired = PrivateNode::default_state();
  std::vector<Destination>& all = desired.grants[0].destinations.own();
  for (int host = 1; host <= 50; host++) {
    Destination more = all[0];
    more.prefix = IpPrefix::parse("198.51.100." + std::to_string(128 + 2 * host + odd) + "/32").value();
    all.push_back(more);
  }
  return desired;
}

std::size_t rules_of(DesiredState desired) {
  const PrivateNode node(std::move(desired));
  return bound(node, GRANTD_BOUND_RULES).used;
}

class LimitsOfTheNode : public testing::Test {
 protected:
  // bob and carol are in force; then aaa comes.
  void expect_only_aaa_refused(PrivateNode& node, grantd_bound_kind kind) {
    EXPECT_TRUE(node.send("bob-web", kOpen, kHttps));
    EXPECT_FALSE(node.send("orphan", kOpen, kHttps));
    node.desired() = with_aaa();
    node.apply();
    EXPECT_THAT(refused(node.compiled()), testing::ElementsAre("keystone-system/aaa"));
    EXPECT_FALSE(node.send("orphan", kOpen, kHttps));
    EXPECT_TRUE(node.send("bob-web", kOpen, kHttps)) << "the name of the new one comes first";
    EXPECT_EQ(bound(node, kind).refused, 1U);
    EXPECT_EQ(bound(node, kind).used, bound(node, kind).most);
  }
  void expect_aaa_passes(PrivateNode& node) {
    EXPECT_THAT(refused(node.compiled()), IsEmpty());
    EXPECT_TRUE(node.send("orphan", kOpen, kHttps));
    EXPECT_TRUE(node.send("bob-web", kOpen, kHttps));
  }
};

TEST_F(LimitsOfTheNode, AGrantWithoutRoomForItsFlowsIsClosedAndHasNoTable) {
  Limits limits = PrivateNode::small_tables();
  limits.flows = 2 * limits.flows_per_grant;
  PrivateNode node(PrivateNode::default_state(), limits);
  expect_only_aaa_refused(node, GRANTD_BOUND_FLOWS);
  std::size_t tables = 0;
  for (std::uint32_t slot = 0; slot < node.datapath().slots(); slot++)
    tables += node.maps().flow_table(slot).value().has_value();
  EXPECT_EQ(tables, 2U);
  limits.flows = 3 * limits.flows_per_grant;
  node.restart(limits);
  expect_aaa_passes(node);
}

TEST_F(LimitsOfTheNode, TablesThatAreThereCountWithTheSizeTheyHave) {
  Limits limits = PrivateNode::small_tables();
  limits.flows = 2 * limits.flows_per_grant + 100;
  PrivateNode node(PrivateNode::default_state(), limits);
  node.desired() = with_aaa();
  limits.flows_per_grant = 100;
  node.restart(limits);
  expect_aaa_passes(node);
  node.apply();
  EXPECT_EQ(bound(node, GRANTD_BOUND_FLOWS).used, 2U * 1024 + 100);
}

TEST_F(LimitsOfTheNode, ARaisedLimitWaitsForNewMaps) {
  Limits limits = PrivateNode::small_tables();
  limits.grants = 2;
  PrivateNode node(PrivateNode::default_state(), limits);
  expect_only_aaa_refused(node, GRANTD_BOUND_GRANTS);
  limits.grants = 10;
  node.restart(limits);
  EXPECT_EQ(node.datapath().limits().grants, 2U);
  const auto warnings = unheld_limits(limits, node.datapath().limits());
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_THAT(warnings[0].text(), testing::AllOf(HasSubstr("--max-grants"), HasSubstr("10"), HasSubstr("hold 2")));
  EXPECT_THAT(refused(node.compiled()), testing::ElementsAre("keystone-system/aaa"));
  EXPECT_FALSE(node.send("orphan", kOpen, kHttps));
  EXPECT_TRUE(node.send("bob-web", kOpen, kHttps));
}

TEST_F(LimitsOfTheNode, OneGrantMoreFitsWhereTheMapsWereMadeForIt) {
  Limits limits = PrivateNode::small_tables();
  limits.grants = 3;
  PrivateNode node(with_aaa(), limits);
  EXPECT_EQ(node.datapath().slots(), 4U);
  expect_aaa_passes(node);
}

TEST_F(LimitsOfTheNode, ALoweredLimitTakesNothingAwayAndStopsNoRevocation) {
  PrivateNode node(with_aaa());
  expect_aaa_passes(node);
  Limits lowered = PrivateNode::small_tables();
  lowered.grants = 1;
  lowered.rules = 1;
  lowered.flows = lowered.flows_per_grant;
  lowered.endpoints = 1;
  lowered.prefixes = 1;
  lowered.identities = 2;
  node.restart(lowered);
  EXPECT_EQ(node.datapath().limits().grants, 1U);
  expect_aaa_passes(node);
  EXPECT_GT(bound(node, GRANTD_BOUND_GRANTS).used, bound(node, GRANTD_BOUND_GRANTS).most);
  node.desired().grants[1].revoked = true;
  node.apply();
  EXPECT_FALSE(node.send("bob-web", kOpen, kHttps));
  EXPECT_TRUE(node.send("orphan", kOpen, kHttps));
}

TEST_F(LimitsOfTheNode, AllRulesAreReplacedAtOnceAtTheLimit) {
  Limits limits = PrivateNode::small_tables();
  limits.rules = rules_of(with_many_rules(0));
  PrivateNode node(with_many_rules(0), limits);
  EXPECT_TRUE(node.send("bob-web", "198.51.100.200", kHttps));
  node.desired() = with_many_rules(1);
  node.apply();  // throws where a step fails
  EXPECT_THAT(refused(node.compiled()), IsEmpty());
  EXPECT_EQ(bound(node, GRANTD_BOUND_RULES).used, limits.rules);
  EXPECT_TRUE(node.send("bob-web", "198.51.100.201", kHttps));
  EXPECT_FALSE(node.send("bob-web", "198.51.100.200", kHttps));
  std::vector<Destination>& destinations = node.desired().grants[0].destinations.own();
  destinations.push_back(destinations.back());
  destinations.back().prefix = IpPrefix::parse("198.51.100.200/32").value();
  node.apply();
  EXPECT_THAT(refused(node.compiled()), testing::ElementsAre("keystone-system/bob"));
  EXPECT_TRUE(node.send("bob-web", "198.51.100.201", kHttps)) << "what was in force stays";
  EXPECT_FALSE(node.send("bob-web", "198.51.100.200", kHttps));
}

TEST_F(LimitsOfTheNode, AGuestMoreIsClosedAndTheOthersStay) {
  const MacAddress mac{{2, 0x20, 0, 0, 0, 1}};
  const IpAddress own = IpAddress::parse("10.20.0.5").value();
  Limits limits = PrivateNode::small_tables();
  limits.endpoints = 3;
  PrivateNode node(with_aaa(), limits);
  EXPECT_EQ(bound(node, GRANTD_BOUND_ENDPOINTS).refused, 1U);
  EXPECT_FALSE(node.maps().endpoint.find(node.ifindex("veth-orphan")).value().has_value());
  EXPECT_FALSE(node.send_from("veth-orphan", mac, own, kOpen, kHttps));
  EXPECT_TRUE(node.send("bob-web", kOpen, kHttps));
  // Room for it, now that another guest's interface is gone.
  std::erase_if(node.desired().workloads, [](const Workload& each) { return each.name == "carol-web"; });
  node.apply();
  EXPECT_FALSE(node.send_from("veth-orphan", mac, own, kOpen, kHttps)) << "the record stays as long as the interface";
  std::erase_if(node.facts().interfaces, [](const InterfaceFact& each) { return each.name == "veth-carol-web"; });
  node.apply();
  node.apply();
  EXPECT_TRUE(node.send_from("veth-orphan", mac, own, kOpen, kHttps));
}

}  // namespace
}  // namespace grantd
