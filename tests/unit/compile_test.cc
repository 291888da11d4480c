#include "agent/compile/compile.h"

#include "agent/compile/grants.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using desired::address;
using desired::grant;
using desired::node;
using desired::noon;
using desired::prefix;
using desired::workload;
using desired::world;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const IdentityName kBob{IdentityName::Kind::Realm, "bob"}, kAlice{IdentityName::Kind::Realm, "alice"}, kNobody{};

bool has_rule(const CompiledGrant& compiled, const IdentityName& identity, grantd_direction direction) {
  for (const CompiledIdentityRule& rule : compiled.identity_rules)
    if (rule.identity == identity && rule.direction == direction) return true;
  return false;
}

CompiledPolicy compile_one(Grant one, const TimeFacts& time = noon()) {
  DesiredState desired = world();
  desired.grants = {std::move(one)};
  desired.workloads = {workload("web", "g", "veth-a", {"10.20.0.2"})};
  return compile(desired, node(), time);
}

TEST(Compile, PartiesMayReachInAndTheGranteeMayBeReached) {
  const CompiledPolicy policy = compile_one(grant("g", {}));
  ASSERT_EQ(policy.grants.size(), 1U);
  const CompiledGrant& compiled = policy.grants[0];
  const IdentityName local{IdentityName::Kind::LocalNode, ""}, same{IdentityName::Kind::Grant, "keystone-system/g"},
      carol{IdentityName::Kind::Realm, "carol"};
  for (const IdentityName& party : {kBob, kAlice, local, same}) EXPECT_TRUE(has_rule(compiled, party, GRANTD_INGRESS));
  EXPECT_FALSE(has_rule(compiled, carol, GRANTD_INGRESS));
  EXPECT_TRUE(has_rule(compiled, kBob, GRANTD_EGRESS));
  EXPECT_TRUE(has_rule(compiled, same, GRANTD_EGRESS));
  EXPECT_FALSE(has_rule(compiled, kAlice, GRANTD_EGRESS)) << "the grantor's network is not a destination";
  EXPECT_FALSE(has_rule(compiled, local, GRANTD_EGRESS));
}

TEST(Compile, AGrantCanNarrowItsParties) {
  Grant narrow = grant("g", {});
  narrow.ingress_from = {Party::Grantee};
  const CompiledPolicy policy = compile_one(narrow);
  EXPECT_EQ(policy.grants[0].identity_rules.size(), 2U);
  EXPECT_TRUE(has_rule(policy.grants[0], kBob, GRANTD_INGRESS));
  EXPECT_TRUE(has_rule(policy.grants[0], kBob, GRANTD_EGRESS));
}

TEST(Compile, WithoutEgressAllowedTheListIsIgnored) {
  Grant closed = grant("g", {"198.51.100.0/24", "realm:carol"});
  closed.egress_allowed = false;
  const CompiledPolicy policy = compile_one(closed);
  const CompiledGrant& compiled = policy.grants[0];
  for (const CompiledRule& rule : compiled.rules) EXPECT_THAT(rule.ranges, IsEmpty()) << rule.prefix.text();
  EXPECT_FALSE(has_rule(compiled, {IdentityName::Kind::Realm, "carol"}, GRANTD_EGRESS));
}

TEST(Compile, AnUnknownRealmRefusesTheGrantWhole) {
  const CompiledPolicy policy = compile_one(grant("g", {"198.51.100.0/24", "realm:dave"}));
  EXPECT_THAT(policy.grants, IsEmpty());
  ASSERT_EQ(policy.refused.size(), 1U);
  EXPECT_THAT(policy.refused[0].why, HasSubstr("dave"));
  EXPECT_THAT(policy.problems.back().text(), HasSubstr("Destinations[1]: \"realm:dave\": no such Realm; accepted: "));
  EXPECT_EQ(policy.endpoints[0].grant, "");
  EXPECT_THAT(policy.endpoints[0].quarantine, HasSubstr("refused"));
  EXPECT_EQ(policy.bounds[GRANTD_BOUND_FLOWS].used, 0U) << "it needs no table";
}

TEST(Compile, ARefusalNamesItsGrant) {
  Grant bad = grant("g", {});
  bad.grantee_realm = "nobody";
  const auto problems = compile_one(bad).problems;
  ASSERT_FALSE(problems.empty());
  EXPECT_EQ(problems[0].object, "Grant keystone-system/g");
}

TEST(Compile, AGrantBeginsAtItsValidFromAndHasEndedAtItsValidUntil) {
  Grant dated = grant("g", {});
  const TimeFacts time = noon();
  const auto phase = [&time](Grant one) { return compile_one(std::move(one), time).grants.at(0).phase; };
  dated.valid_from = WallTime(time.now);
  EXPECT_EQ(phase(dated), GRANTD_PHASE_ACTIVE);
  dated.valid_from = WallTime(time.now) + std::chrono::nanoseconds(1);
  EXPECT_EQ(phase(dated), GRANTD_PHASE_PENDING);
  dated.valid_from.reset();
  dated.valid_until = WallTime(time.now);
  EXPECT_EQ(phase(dated), GRANTD_PHASE_EXPIRED);
  dated.valid_until = WallTime(time.now) + std::chrono::nanoseconds(1);
  EXPECT_EQ(phase(dated), GRANTD_PHASE_ACTIVE);
}

TEST(Compile, GuestsOfARefusedGrantStayUnderWhatIsInForceForIt) {
  DesiredState desired = world();
  desired.grants = {grant("g", {"realm:dave"})};
  desired.workloads = {workload("web", "g", "veth-a", {"10.20.0.2"})};
  NodeFacts facts = node();
  facts.in_force.grants["keystone-system/g"] = {1, 100};
  const CompiledPolicy policy = compile(desired, facts, noon());
  EXPECT_EQ(policy.refused.size(), 1U);
  EXPECT_EQ(policy.endpoints[0].grant, "keystone-system/g");
}

TEST(Compile, TooManySeparateRangesRefuseTheGrantAndAreNeverCut) {
  std::vector<std::string> few, many;
  for (int port = 0; port < 17; port++)
    (port < 16 ? few : many).push_back("198.51.100.1:" + std::to_string(1 + 2 * port) + "/TCP");
  many.insert(many.end(), few.begin(), few.end());
  EXPECT_EQ(compile_one(grant("g", few)).grants.size(), 1U);
  EXPECT_EQ(compile_one(grant("g", many)).refused.size(), 1U);
}

TEST(Compile, TooManyRangesAreCountedAndNamedAsTheyWereWritten) {
  std::vector<std::string> ports, of_realm;
  for (int port = 0; port < 200; port++) {
    ports.push_back("198.51.100.1:" + std::to_string(1 + 2 * port));
    of_realm.push_back("realm:carol:" + std::to_string(1 + 2 * port) + "/SCTP");
  }
  EXPECT_THAT(
      compile_one(grant("g", ports)).refused.at(0).why,
      HasSubstr("400 separate ranges of ports come together at 198.51.100.1 (200 TCP, 200 UDP); accepted: at most "
                "16 of all protocols together, where a port without a protocol counts for TCP and for UDP"));
  EXPECT_THAT(compile_one(grant("g", of_realm)).refused.at(0).why,
              HasSubstr("200 separate ranges of ports come together at realm:carol (200 SCTP); accepted: at most 16"));
}

int line_of(const CompiledPolicy& policy, const std::string& message) {
  for (const Problem& each : policy.problems)
    if (each.text().find(message) != std::string::npos) return each.position.line;
  return -1;
}

TEST(Compile, WhatIsWrongIsToldOnTheLineOfItsField) {
  Grant late = grant("g", {"198.51.100.1:1/TCP", "service:a/b"});
  late.position = {"grant.yaml", 1, 2};
  late.dns_cluster = true;
  late.dns_line = 7;
  CompiledPolicy policy = compile_one(late);
  EXPECT_EQ(line_of(policy, "services are not looked up"), 10) << "where desired_samples.h puts destinations";
  EXPECT_EQ(line_of(policy, "the DNS service is not looked up; it opens nothing"), 7);
  std::vector<std::string> many = {"203.0.113.1:1/TCP"};
  for (int port = 0; port < 17; port++) many.push_back("198.51.100.1:" + std::to_string(1 + 2 * port) + "/TCP");
  late = grant("g", many);
  late.destinations.own()[1].position.line = 11;
  EXPECT_EQ(line_of(compile_one(late), "separate ranges of ports"), 11) << "the first of those that come together";
}

TEST(Compile, WhatIsWrongWithAWorkloadIsToldOnTheLineOfItsField) {
  DesiredState desired = world();
  desired.grants = {grant("g", {})};
  desired.workloads = {workload("a", "g", "veth-a", {"10.20.0.2", "192.168.1.5"}), workload("b", "g", "veth-x", {}),
                       workload("c", "nope", "veth-c", {"10.20.0.3"})};
  for (Workload& each : desired.workloads) {
    each.grant_line = 2;
    each.interface_line = 3;
    each.address_lines = {4, 5};
  }
  const CompiledPolicy policy = compile(desired, node(), noon());
  EXPECT_EQ(line_of(policy, "there is no such Grant"), 2);
  EXPECT_EQ(line_of(policy, "no such interface on this node yet"), 3);
  EXPECT_EQ(line_of(policy, "spec.addresses[1]: \"192.168.1.5\": is an address of this node itself"), 5);
}

TEST(Compile, RangesThatTouchAreJoinedBeforeAGrantIsRefused) {
  std::vector<std::string> adjacent;
  for (int port = 1; port <= 40; port++) adjacent.push_back("198.51.100.1:" + std::to_string(port) + "/TCP");
  const CompiledPolicy policy = compile_one(grant("g", adjacent));
  ASSERT_EQ(policy.grants.size(), 1U);
  for (const CompiledRule& rule : policy.grants[0].rules)
    if (rule.prefix == prefix("198.51.100.1/32")) {
      EXPECT_EQ(rule.ranges.size(), 1U);
    }
}

TEST(Compile, LimitsOfTheNodeRefuseWholeGrants) {
  DesiredState desired = world();
  desired.grants = {grant("a", {}), grant("b", {})};
  Limits limits;
  limits.grants = 1;
  const CompiledPolicy policy = compile(desired, node(), noon(), limits);
  EXPECT_EQ(policy.grants.size(), 1U);
  EXPECT_EQ(policy.refused.size(), 1U);
}

TEST(Compile, ABurstThatWouldLastTooLongIsRefused) {
  Grant slow = grant("g", {});
  slow.egress_bps = 8000;
  slow.egress_burst_bytes = 128 << 10;
  EXPECT_EQ(compile_one(slow).grants.size(), 1U);
  slow.egress_burst_bytes = 1 << 20;
  EXPECT_EQ(compile_one(slow).refused.size(), 1U);
}

TEST(Compile, TheDefaultBurstIsAQuarterOfASecond) {
  EXPECT_EQ(default_burst_bytes(8'000), 256U << 10);
  EXPECT_EQ(default_burst_bytes(1'000'000'000), 31'250'000U);
}

// ---- realms ----

std::optional<IdentityName> owner(const CompiledPolicy& policy, int uplink_class, const std::string& at) {
  const CompiledPrefix* best = nullptr;
  for (const CompiledPrefix& each : policy.prefixes)
    if (each.uplink_class == uplink_class && each.prefix.contains(address(at)) &&
        (!best || each.prefix.length > best->prefix.length))
      best = &each;
  return best ? std::optional(best->identity) : std::nullopt;
}

TEST(Endpoints, AGrantThatWasRefusedIsNotTakenForOneThatIsNotThere) {
  DesiredState desired = world();
  desired.grants.clear();
  desired.workloads = {workload("web", "g", "veth-a", {"10.20.0.2"})};
  const auto said = [&] {
    const CompiledPolicy policy = compile(desired, node(), noon());
    return policy.problems.empty() ? "" : policy.problems.back().message + "; " + policy.endpoints.front().quarantine;
  };
  EXPECT_THAT(said(), AllOf(HasSubstr("no such Grant"), HasSubstr("there is no Grant")));
  Problem wrong;
  wrong.object = "Grant " + desired.workloads.front().grant;
  wrong.message = "is missing";
  desired.problems = {wrong};
  EXPECT_THAT(said(), AllOf(HasSubstr("this Grant was refused"), HasSubstr("was refused")));
}

TEST(Realms, AreBelievedOnTheirClassesOnly) {
  const CompiledPolicy policy = compile(world(), node(), noon());
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_TAILNET, "100.64.7.1"), kBob);
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_LAN, "100.64.7.1"), std::nullopt);
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_LAN, "192.168.1.77"), kAlice);
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_TAILNET, "192.168.1.77"), std::nullopt);
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_DESTINATION, "100.64.7.1"), kBob);
}

TEST(Realms, TheNodesOwnAddressesAreNobodys) {
  const CompiledPolicy policy = compile(world(), node(), noon());
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_DESTINATION, "192.168.1.5"), kNobody);
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_LAN, "192.168.1.5"), kNobody);
}

TEST(Realms, WhatIsDeliveredToTheNodeIsNobodysAndProtected) {
  NodeFacts facts = node();
  facts.local_routes = {prefix("192.168.1.255/32"), prefix("203.0.113.64/26"), prefix("2001:db8:a11c::/128")};
  DesiredState desired = world();
  desired.realms[2] = desired::realm("carol", {"203.0.113.0/24", "203.0.113.70/32", "2001:db8:a11c::/64"});
  desired.grants = {grant("g", {"203.0.113.0/24", "203.0.113.80/28:443/TCP"})};
  const CompiledPolicy policy = compile(desired, facts, noon());
  for (const std::uint8_t uplink_class : {GRANTD_UPLINK_DESTINATION, GRANTD_UPLINK_LAN}) {
    EXPECT_EQ(owner(policy, uplink_class, "192.168.1.255"), kNobody);
    EXPECT_EQ(owner(policy, uplink_class, "203.0.113.70"), kNobody) << "also where a realm lies inside of it";
    EXPECT_EQ(owner(policy, uplink_class, "2001:db8:a11c::"), kNobody);
    EXPECT_NE(owner(policy, uplink_class, "203.0.113.7"), kNobody);
    EXPECT_NE(owner(policy, uplink_class, "2001:db8:a11c::1"), kNobody);
  }
  std::map<IpPrefix, std::size_t> opened;
  for (const CompiledRule& rule : policy.grants.front().rules) opened[rule.prefix] = rule.ranges.size();
  EXPECT_EQ(opened.at(prefix("203.0.113.0/24")), 1U);
  EXPECT_EQ(opened.at(prefix("203.0.113.64/26")), 0U);
  EXPECT_EQ(opened.at(prefix("203.0.113.80/28")), 1U) << "an entry inside opens what it names";
}

TEST(Realms, ANarrowerRealmTakesItsPartOutOfAWiderOneOnEveryClass) {
  DesiredState desired = world();
  desired.realms[0] = desired::realm("alice", {"100.64.0.0/10"});
  desired.realms[1].uplinks = {UplinkClass::Lan};
  const CompiledPolicy policy = compile(desired, node(), noon());
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_TAILNET, "100.64.8.1"), kAlice);
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_TAILNET, "100.64.7.1"), kNobody) << "Bob's, but not believed there";
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_LAN, "100.64.7.1"), kBob);
}

TEST(Realms, AProtectedRangeIsNobodysAndAnError) {
  DesiredState desired = world();
  desired.realms[2] = desired::realm("carol", {"10.42.8.0/24", "192.0.2.0/24"});
  const CompiledPolicy policy = compile(desired, node(), noon());
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_DESTINATION, "10.42.8.1"), std::nullopt);
  EXPECT_NE(owner(policy, GRANTD_UPLINK_DESTINATION, "192.0.2.1"), std::nullopt);
  ASSERT_EQ(policy.problems.size(), 1U);
  EXPECT_THAT(policy.problems[0].text(), HasSubstr("10.42.8.0/24"));
}

TEST(Realms, NamesOfATailnetStandForNothingHere) {
  DesiredState desired = world();
  desired.realms[2].tailnet.tags = {"tag:carol"};
  const CompiledPolicy policy = compile(desired, node(), noon());
  ASSERT_EQ(policy.problems.size(), 1U);
  EXPECT_EQ(policy.problems[0].severity, Severity::Warning);
  EXPECT_THAT(policy.problems[0].text(), HasSubstr("spec.tailnet"));
}

TEST(Realms, GuestsAreKnownByTheirGrant) {
  const CompiledPolicy policy = compile_one(grant("g", {}));
  EXPECT_EQ(owner(policy, GRANTD_UPLINK_DESTINATION, "10.20.0.2"),
            (IdentityName{IdentityName::Kind::Grant, "keystone-system/g"}));
}

// ---- endpoints ----

TEST(Endpoints, AWorkloadWithoutAGrantIsInQuarantine) {
  DesiredState desired = world();
  desired.workloads = {workload("web", "missing", "veth-a", {"10.20.0.2"})};
  const CompiledPolicy policy = compile(desired, node(), noon());
  ASSERT_EQ(policy.endpoints.size(), 1U);
  EXPECT_EQ(policy.endpoints[0].grant, "");
  EXPECT_THAT(policy.endpoints[0].quarantine, HasSubstr("missing"));
}

TEST(Endpoints, WithoutAMacAGuestIsInQuarantine) {
  DesiredState desired = world();
  desired.grants = {grant("g", {})};
  desired.workloads = {workload("web", "g", "veth-a", {"10.20.0.2"})};
  NodeFacts facts = node();
  EXPECT_EQ(compile(desired, facts, noon()).endpoints[0].grant, "keystone-system/g");
  facts.interfaces[0].peer_mac.reset();
  EXPECT_EQ(compile(desired, facts, noon()).endpoints[0].grant, "");
}

TEST(Endpoints, TheGatewayIsTheHostsSideAndTheBridgeItIsAPortOf) {
  DesiredState desired = world();
  desired.workloads = {workload("web", "g", "veth-a", {"fd00:20::2"})};
  NodeFacts facts = node();
  facts.interfaces[0].link_local = {address("fe80::1"), address("fe80::2")};
  facts.interfaces[0].addresses = {address("10.20.0.1"), address("fd00:20::1")};
  facts.interfaces.push_back(desired::interface("br0", 40));
  facts.interfaces.back().addresses = {address("10.20.0.9"), address("fd00:20::9"), address("fd00:20::a")};
  std::vector<IpAddress> gateways = {address("fe80::1"), address("fe80::2"), address("fd00:20::1")};
  EXPECT_EQ(compile(desired, facts, noon()).endpoints[0].gateways, gateways);
  facts.interfaces[0].master = 40;
  gateways.push_back(address("fd00:20::9"));
  EXPECT_EQ(compile(desired, facts, noon()).endpoints[0].gateways, gateways) << "of more the last are left out";
}

TEST(Endpoints, AnUplinkIsNoGuest) {
  DesiredState desired = world();
  desired.grants = {grant("g", {})};
  desired.workloads = {workload("web", "g", "eth0", {"10.20.0.2"})};
  const CompiledPolicy policy = compile(desired, node(), noon());
  EXPECT_THAT(policy.endpoints, IsEmpty());
  EXPECT_THAT(policy.problems.back().text(), HasSubstr("uplink"));
}

}  // namespace
}  // namespace grantd
