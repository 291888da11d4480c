// Which interfaces of the node count as what.
#include "agent/compile/compile.h"
#include "agent/compile/endpoints.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using desired::grant;
using desired::node;
using desired::noon;
using desired::workload;
using desired::world;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Uplinks, ATunnelThatNobodyNamesIsUntrusted) {
  NodeFacts facts = node();
  InterfaceFact tunnel = desired::interface("wg0", 30);
  tunnel.tunnel = tunnel.layer3 = true;
  facts.interfaces.push_back(tunnel);
  const CompiledPolicy policy = compile(world(), facts, noon());
  ASSERT_EQ(policy.uplinks.size(), 2U);
  EXPECT_EQ(policy.uplinks[0].interface, "eth0");
  EXPECT_EQ(policy.uplinks[0].uplink_class, GRANTD_UPLINK_LAN);
  EXPECT_EQ(policy.uplinks[1].uplink_class, GRANTD_UPLINK_UNTRUSTED);
  EXPECT_TRUE(policy.uplinks[1].tunnel);
  EXPECT_FALSE(policy.uplinks[0].tunnel);
  facts.uplink_rules.push_back({"wg0", UplinkClass::Tailnet});
  EXPECT_TRUE(compile(world(), facts, noon()).uplinks[1].tunnel) << "named or not";
}

TEST(Uplinks, ABridgeWithGuestsAsPortsIsRefused) {
  DesiredState desired = world();
  desired.grants = {grant("g", {})};
  desired.workloads = {workload("web", "g", "veth-a", {"10.20.0.2"})};
  NodeFacts facts = node();
  facts.uplink_rules.push_back({"br0", UplinkClass::Lan});
  facts.interfaces.push_back(desired::interface("br0", 40));
  EXPECT_EQ(compile(desired, facts, noon()).uplinks.size(), 2U);
  facts.interfaces[0].master = 40;
  EXPECT_EQ(compile(desired, facts, noon()).uplinks.size(), 1U);
}

TEST(Uplinks, ANameThatNothingHasIsTold) {
  NodeFacts facts = node();
  facts.uplink_rules = {{"eth0", UplinkClass::Lan}, {"tailscale*", UplinkClass::Tailnet}};
  EXPECT_THAT(compile(world(), facts, noon()).problems, IsEmpty()) << "a pattern may match nothing";
  facts.uplink_rules.push_back({"tailscale0", UplinkClass::Tailnet});
  const auto problems = compile(world(), facts, noon()).problems;
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].severity, Severity::Warning);
  EXPECT_THAT(problems[0].text(), AllOf(HasSubstr("--uplink"), HasSubstr("\"tailscale0\"")));
}

TEST(Uplinks, GlobsMatchAsPeopleExpect) {
  EXPECT_TRUE(matches_glob("eth*", "eth0"));
  EXPECT_TRUE(matches_glob("*", ""));
  EXPECT_TRUE(matches_glob("w?g*0", "wxg10"));
  EXPECT_FALSE(matches_glob("eth*", "veth0"));
  EXPECT_FALSE(matches_glob("eth0", "eth01"));
  EXPECT_FALSE(matches_glob("", "e"));
}

}  // namespace
}  // namespace grantd
