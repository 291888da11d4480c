// The limits of a node at compile: one below, at, one above; what is in force stays; order does not matter.
#include "agent/compile/room.h"
#include "agent/apply/applier.h"
#include "agent/apply/map_sizes.h"
#include "agent/compile/compile.h"
#include "agent/plan/in_force.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/model_kernel.h"

#include <gmock/gmock.h>

#include <algorithm>

namespace grantd {
namespace {

using desired::grant;
using desired::node;
using desired::noon;
using desired::workload;
using desired::world;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Grants a, b and c with a guest each.
DesiredState three() {
  DesiredState desired = world();
  desired.grants = {grant("a", {}), grant("b", {}), grant("c", {})};
  desired.workloads = {workload("wa", "a", "veth-a", {"10.20.0.2"}), workload("wb", "b", "veth-b", {"10.20.0.3"}),
                       workload("wc", "c", "veth-c", {"10.20.0.4"})};
  return desired;
}

std::vector<std::string> accepted(const CompiledPolicy& policy) {
  std::vector<std::string> names;
  for (const CompiledGrant& each : policy.grants) names.push_back(each.key.substr(each.key.find('/') + 1));
  return names;
}

std::vector<std::string> refused(const CompiledPolicy& policy) {
  std::vector<std::string> names;
  for (const RefusedGrant& each : policy.refused) names.push_back(each.key.substr(each.key.find('/') + 1));
  return names;
}

bool says(const CompiledPolicy& policy, const std::string& text) {
  return std::any_of(policy.problems.begin(), policy.problems.end(),
                     [&](const Problem& each) { return each.text().find(text) != std::string::npos; });
}

std::size_t rules_of_one() {
  DesiredState desired = three();
  desired.grants.resize(1);
  return compile(desired, node(), noon()).bounds[GRANTD_BOUND_RULES].used;
}

// Compiles three() with the limit one below, at and one above `exact`, in both orders of the manifests.
void expect_edge(std::size_t Limits::*limit, std::size_t exact, grantd_bound_kind kind, const char* setting) {
  for (const bool reversed : {false, true}) {
    DesiredState desired = three();
    if (reversed) {
      std::reverse(desired.grants.begin(), desired.grants.end());
      std::reverse(desired.workloads.begin(), desired.workloads.end());
    }
    Limits limits;
    limits.flows_per_grant = 100;
    for (const std::size_t most : {exact + 1, exact}) {
      limits.*limit = most;
      const CompiledPolicy fits = compile(desired, node(), noon(), limits);
      EXPECT_THAT(accepted(fits), ElementsAre("a", "b", "c")) << setting << most;
      EXPECT_EQ(fits.bounds[kind].used, exact) << setting;
      EXPECT_EQ(fits.bounds[kind].most, most);
      EXPECT_EQ(fits.bounds[kind].refused, 0U);
      EXPECT_THAT(fits.problems, IsEmpty());
    }
    limits.*limit = exact - 1;
    const CompiledPolicy above = compile(desired, node(), noon(), limits);
    EXPECT_THAT(accepted(above), ElementsAre("a", "b")) << setting;
    EXPECT_THAT(refused(above), ElementsAre("c")) << setting;
    EXPECT_LE(above.bounds[kind].used, exact - 1);
    EXPECT_EQ(above.bounds[kind].refused, 1U);
    EXPECT_TRUE(says(above, setting)) << setting;
  }
}

TEST(Room, EachLimitOfGrantsHoldsExactly) {
  expect_edge(&Limits::grants, 3, GRANTD_BOUND_GRANTS, "--max-grants");
  expect_edge(&Limits::rules, 3 * rules_of_one(), GRANTD_BOUND_RULES, "--max-rules");
  expect_edge(&Limits::identities, 3 + 3 + 1, GRANTD_BOUND_IDENTITIES, "--max-identities");
  expect_edge(&Limits::flows, 300, GRANTD_BOUND_FLOWS, "--max-flows");
}

TEST(Room, AGrantWithoutAFlowTableHasItsGuestsInQuarantine) {
  Limits limits;
  limits.flows = 2 * limits.flows_per_grant;
  const CompiledPolicy policy = compile(three(), node(), noon(), limits);
  EXPECT_EQ(policy.endpoints[1].grant, "keystone-system/b");
  EXPECT_EQ(policy.endpoints[2].grant, "");
  EXPECT_THAT(policy.endpoints[2].quarantine, HasSubstr("refused"));
}

TEST(Room, AGrantWithoutGuestsTakesNoFlows) {
  DesiredState desired = three();
  desired.workloads.pop_back();
  Limits limits;
  limits.flows = 2 * limits.flows_per_grant;
  EXPECT_THAT(accepted(compile(desired, node(), noon(), limits)), ElementsAre("a", "b", "c"));
}

TEST(Room, EndpointsBeyondTheLimitAreClosed) {
  Limits limits;
  for (const std::size_t most : {4U, 3U, 2U}) {
    limits.endpoints = most;
    DesiredState desired = three();
    for (Workload& each : desired.workloads) each.position = {"w.yaml", 1, 3};
    std::reverse(desired.workloads.begin(), desired.workloads.end());
    const CompiledPolicy policy = compile(desired, node(), noon(), limits);
    ASSERT_EQ(policy.endpoints.size(), 3U);
    EXPECT_FALSE(policy.endpoints[1].without_record);
    EXPECT_EQ(policy.endpoints[2].without_record, most == 2) << most;
    EXPECT_EQ(says(policy, "--max-endpoints"), most == 2);
    EXPECT_EQ(says(policy, "w.yaml:3 (document 1): guest " + policy.endpoints[2].guest + ": has no room"), most == 2);
    EXPECT_EQ(policy.bounds[GRANTD_BOUND_ENDPOINTS].used, std::min<std::size_t>(most, 3));
  }
}

TEST(Room, PrefixesBeyondTheLimitAreRefusedWhole) {
  const std::size_t exact = compile(three(), node(), noon()).prefixes.size();
  Limits limits;
  for (const std::size_t most : {exact + 1, exact, exact - 1}) {
    limits.prefixes = most;
    const CompiledPolicy policy = compile(three(), node(), noon(), limits);
    EXPECT_EQ(policy.prefixes_refused, most < exact);
    EXPECT_EQ(says(policy, "--max-realm-prefixes"), most < exact);
    if (most < exact) {
      EXPECT_THAT(policy.problems.back().text(), AllOf(HasSubstr("Realm bob"), HasSubstr("--max-realm-prefixes")));
    }
  }
}

// The floor of the design, also where each prefix is believed on every class.
TEST(Room, AsManyPrefixesOfRealmsAsTheDesignNamesFit) {
  DesiredState desired = three();
  std::vector<std::string> all;
  while (all.size() < 65536 - 16)  // the other Realms have some
    all.push_back("198." + std::to_string(20 + all.size() / 65536) + "." + std::to_string(all.size() / 256 % 256) +
                  "." + std::to_string(all.size() % 256) + "/32");
  desired.realms.push_back(desired::realm("large", all));
  desired.realms.back().uplinks = {UplinkClass::Tailnet, UplinkClass::Lan, UplinkClass::Overlay};
  const CompiledPolicy policy = compile(desired, node(), noon());
  EXPECT_FALSE(policy.prefixes_refused);
  EXPECT_GT(policy.prefixes.size(), 4 * all.size());
  EXPECT_FALSE(says(policy, "--max-realm-prefixes"));
}

TEST(Room, RealmsWithoutAnIdentityAreNobodyAndTheirGrantsAreRefused) {
  DesiredState desired = three();
  desired.realms[0] = desired::realm("alice", {"192.0.0.0/16"});  // around Carol's 192.0.2.0/24
  desired.grants = {grant("a", {"realm:carol"})};
  Limits limits;
  limits.identities = 3;  // alice, bob and this node
  const CompiledPolicy policy = compile(desired, node(), noon(), limits);
  EXPECT_THAT(refused(policy), ElementsAre("a"));
  EXPECT_THAT(policy.refused[0].why, HasSubstr("Realm carol has no identity"));
  bool hole = false;
  for (const CompiledPrefix& each : policy.prefixes) {
    EXPECT_NE(each.identity.name, "carol");
    hole = hole || (each.prefix == desired::prefix("192.0.2.0/24") && each.identity.kind == IdentityName::Kind::Nobody);
  }
  EXPECT_TRUE(hole) << "else Carol's addresses would be Alice's";
  limits.identities = 5;
  EXPECT_THAT(accepted(compile(desired, node(), noon(), limits)), ElementsAre("a"));
}

// ---- with something in force ----

// A node of its own, whose kernel is watched over at every step.
class RunningNode {
 public:
  CompiledPolicy converge(const DesiredState& desired, const Limits& limits) {
    PlanFacts facts;
    facts.interfaces = {2, 10, 11, 12};
    facts.now = time_.boot_now;
    node_.in_force = in_force(applier_.state());
    CompiledPolicy compiled = compile(desired, node_, time_, limits);
    EXPECT_TRUE(applier_.apply(plan(applier_.state(), compiled, facts), facts.now).complete());
    EXPECT_THAT(kernel_.violations(), IsEmpty());
    return compiled;
  }
  const KernelState& state() const { return applier_.state(); }
  // The policy in force; nullptr in quarantine.
  const grantd_policy* policy_of(const std::string& name) const {
    for (const auto& [slot, named] : state().slot_names)
      if (text_of(named.grant) == "keystone-system/" + name)
        if (const auto published = state().published.find(slot); published != state().published.end())
          return &state().policies.at(published->second);
    return nullptr;
  }
  std::uint32_t slot_of_interface(std::uint32_t ifindex) const { return state().endpoints.at(ifindex).slot; }

 private:
  model::ModelKernel kernel_;
  Applier applier_{kernel_};
  NodeFacts node_ = node();
  TimeFacts time_ = noon();
};

// Grants b and c, as three() without a.
DesiredState two() {
  DesiredState desired = three();
  desired.grants.erase(desired.grants.begin());
  desired.workloads.erase(desired.workloads.begin());
  return desired;
}

std::vector<Limits> each_full_with_two() {
  std::vector<Limits> all(4);
  all[0].grants = 2;
  all[1].rules = 2 * rules_of_one();
  all[2].identities = 6;
  all[3].flows = 2 * all[3].flows_per_grant;
  return all;
}

TEST(RoomInForce, AGrantMoreIsTheOneThatIsRefusedAlthoughItsNameComesFirst) {
  for (const Limits& limits : each_full_with_two()) {
    RunningNode running;
    running.converge(two(), limits);
    const auto rules_b = running.policy_of("b")->rules_id, rules_c = running.policy_of("c")->rules_id;
    const CompiledPolicy policy = running.converge(three(), limits);
    EXPECT_THAT(refused(policy), ElementsAre("a"));
    EXPECT_EQ(running.policy_of("a"), nullptr);
    EXPECT_EQ(running.slot_of_interface(10), 0U);
    ASSERT_NE(running.policy_of("b"), nullptr);
    ASSERT_NE(running.policy_of("c"), nullptr);
    EXPECT_EQ(running.policy_of("b")->rules_id, rules_b);
    EXPECT_EQ(running.policy_of("c")->rules_id, rules_c);
    // The control: with room it is in force.
    EXPECT_THAT(refused(running.converge(three(), {})), IsEmpty());
    EXPECT_NE(running.policy_of("a"), nullptr);
    EXPECT_NE(running.slot_of_interface(10), 0U);
  }
}

TEST(RoomInForce, ALoweredLimitTakesNothingAwayAndStopsNoRevocation) {
  Limits lowered;
  lowered.grants = lowered.rules = lowered.endpoints = lowered.prefixes = 1;
  lowered.identities = 2;
  lowered.flows = lowered.flows_per_grant;
  RunningNode running;
  running.converge(three(), {});
  const CompiledPolicy policy = running.converge(three(), lowered);
  EXPECT_THAT(accepted(policy), ElementsAre("a", "b", "c"));
  EXPECT_FALSE(policy.prefixes_refused);
  for (const CompiledEndpoint& each : policy.endpoints) EXPECT_FALSE(each.without_record);
  for (const grantd_bound& bound : policy.bounds) EXPECT_GT(bound.used, bound.most);
  EXPECT_TRUE(says(policy, "--max-flows"));
  DesiredState revoked = three();
  revoked.grants[1].revoked = true;
  running.converge(revoked, lowered);
  EXPECT_EQ(running.policy_of("b")->not_after_ns, 1U);
  EXPECT_EQ(running.policy_of("c")->not_after_ns, GRANTD_TIME_NEVER);
}

TEST(RoomInForce, AGrantThatGrowsBeyondTheRulesKeepsWhatIsInForceAndMayShrink) {
  Limits limits;
  limits.rules = 2 * rules_of_one();
  RunningNode running;
  running.converge(two(), limits);
  const auto before = running.policy_of("b")->rules_id;
  DesiredState grown = two();
  grown.grants[0] = grant("b", {"203.0.113.0/24"});
  EXPECT_THAT(refused(running.converge(grown, limits)), ElementsAre("b"));
  EXPECT_EQ(running.policy_of("b")->rules_id, before);
  DesiredState shrunk = two();
  shrunk.grants[0].ingress_from = {Party::Grantee};
  EXPECT_THAT(refused(running.converge(shrunk, limits)), IsEmpty());
  EXPECT_NE(running.policy_of("b")->rules_id, before);
}

TEST(RoomInForce, AGuestWhoseGrantIsInForceGetsNoTableBeyondTheFlows) {
  DesiredState desired = three();
  desired.workloads.pop_back();
  Limits limits;
  limits.flows = 2 * limits.flows_per_grant;
  RunningNode running;
  EXPECT_THAT(refused(running.converge(desired, limits)), IsEmpty());
  EXPECT_THAT(refused(running.converge(three(), limits)), ElementsAre("c"));
  EXPECT_NE(running.policy_of("c"), nullptr) << "what was in force";
  EXPECT_EQ(running.slot_of_interface(12), 0U);
  std::size_t flows = 0;
  for (const auto& [slot, each] : running.state().tables) flows += each;
  EXPECT_EQ(flows, limits.flows);
}

TEST(RoomInForce, AGuestMoreIsTheOneThatIsClosed) {
  Limits limits;
  limits.endpoints = 2;
  RunningNode running;
  running.converge(two(), limits);
  running.converge(three(), limits);
  EXPECT_FALSE(running.state().endpoints.contains(10));
  EXPECT_TRUE(running.state().attachments.contains({Hook::FromGuest, 10, 0}));
  EXPECT_NE(running.slot_of_interface(11), 0U);
  EXPECT_NE(running.slot_of_interface(12), 0U);
}

TEST(RoomInForce, WhatARealmLosesIsLostAlsoWhereThereAreTooManyPrefixes) {
  RunningNode running;
  Limits limits;
  limits.prefixes = running.converge(three(), {}).prefixes.size();
  DesiredState more = three();
  more.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  more.realms[2] = desired::realm("carol", {"192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24"});
  EXPECT_TRUE(running.converge(more, limits).prefixes_refused);
  const PrefixKey lost{GRANTD_UPLINK_TAILNET, desired::prefix("100.64.7.0/24")};
  const PrefixKey kept{GRANTD_UPLINK_LAN, desired::prefix("192.0.2.0/24")};
  EXPECT_EQ(running.state().prefixes.at(lost), static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY));
  EXPECT_NE(running.state().prefixes.at(kept), static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY));
  EXPECT_FALSE(running.state().prefixes.contains({GRANTD_UPLINK_LAN, desired::prefix("203.0.113.0/24")}));
  EXPECT_FALSE(running.converge(more, {}).prefixes_refused);
  EXPECT_TRUE(running.state().prefixes.contains({GRANTD_UPLINK_LAN, desired::prefix("203.0.113.0/24")}));
  EXPECT_FALSE(running.state().prefixes.contains(lost));
}

// ---- sizes of maps ----

CompiledGrant with_rules(const char* name, std::size_t rules) {
  CompiledGrant compiled;
  compiled.key = std::string("keystone-system/") + name;
  compiled.rules.resize(rules);
  return compiled;
}

// What take() says is wrong, "" where there was room.
std::string wrong_with(Room& room, const CompiledGrant& grant, bool with_table = false) {
  Problem wrong;
  return room.take(grant, with_table, wrong) ? "" : wrong.text();
}

TEST(Room, AGrantInForceMayGrowAsFarAsTheRulesGo) {
  Limits limits;
  limits.rules = 10;
  DesiredState desired = three();
  InForce in_force;
  in_force.grants["keystone-system/a"].rules = 4;
  in_force.grants["keystone-system/b"].rules = 3;
  Room room(limits, desired, in_force);
  EXPECT_THAT(wrong_with(room, with_rules("a", 8)), HasSubstr("needs 8 rules, and 7 are left of --max-rules 10"));
  EXPECT_EQ(wrong_with(room, with_rules("a", 7)), "");
  EXPECT_THAT(wrong_with(room, with_rules("c", 1)), HasSubstr("needs 1 rules, and 0 are left"));
  limits.rules = 5;
  Room smaller(limits, desired, in_force);
  EXPECT_EQ(wrong_with(smaller, with_rules("b", 3)), "") << "what is in force keeps its room";
  EXPECT_THAT(wrong_with(smaller, with_rules("c", 1)), HasSubstr("and 0 are left of --max-rules 5")) << "and no more";
}

TEST(Room, AFlowTableIsTakenOnce) {
  Limits limits;
  limits.flows = 100;
  limits.flows_per_grant = 40;
  DesiredState desired = three();
  InForce in_force;
  in_force.grants["keystone-system/a"].flows = 1;  // of an agent that made smaller ones
  Room room(limits, desired, in_force);
  EXPECT_EQ(wrong_with(room, with_rules("a", 1), true), "");
  EXPECT_EQ(wrong_with(room, with_rules("b", 1), true), "");
  EXPECT_EQ(wrong_with(room, with_rules("c", 1), true), "");
  EXPECT_THAT(wrong_with(room, with_rules("d", 1), true),
              HasSubstr("a flow table of 40 flows, and 19 are left of --max-flows 100"));
  Bounds bounds{};
  room.tell(bounds);
  EXPECT_EQ(bounds[GRANTD_BOUND_FLOWS].used, 81U);
  EXPECT_EQ(bounds[GRANTD_BOUND_FLOWS].refused, 1U);
}

// Of a Grant that has lost its guests, where every limit is as large as what is asked for, or one of them less.
TEST(Room, WhatHasNoGuestsTakesOnlyWhatIsLeftOfEach) {
  DesiredState desired = three();
  InForce in_force;
  in_force.grants["keystone-system/gone"] = {3, 40, true, 0};
  Limits exact;
  exact.grants = 2;
  exact.identities = 1 + desired.realms.size() + 2;  // the node's own, the Realms', two Grants'
  exact.rules = 2 + 3;
  exact.flows_per_grant = 40;
  exact.flows = 80;
  const auto has_room = [&](const Limits& limits) {
    Room room(limits, desired, in_force);
    EXPECT_EQ(wrong_with(room, with_rules("a", 2), true), "");
    return room.take_left(with_rules("gone", 3));
  };
  EXPECT_TRUE(has_room(exact));
  for (std::size_t Limits::*const limit : {&Limits::grants, &Limits::identities, &Limits::rules, &Limits::flows}) {
    Limits less = exact;
    (less.*limit)--;
    EXPECT_FALSE(has_room(less));
  }
}

TEST(Room, WhatHasNoGuestsTakesItFromTheNext) {
  DesiredState desired = three();
  InForce in_force;
  in_force.grants["keystone-system/gone"] = {3, 40, true, 0};
  const Limits limits;
  Room room(limits, desired, in_force);
  EXPECT_TRUE(room.take_left(with_rules("gone", 3)));
  Bounds bounds{};
  room.tell(bounds);
  EXPECT_EQ(bounds[GRANTD_BOUND_GRANTS].used, 1U);
  EXPECT_EQ(bounds[GRANTD_BOUND_IDENTITIES].used, 1 + desired.realms.size() + 1);
  EXPECT_EQ(bounds[GRANTD_BOUND_RULES].used, 3U);
  EXPECT_EQ(bounds[GRANTD_BOUND_FLOWS].used, 40U);
}

TEST(Room, RealmsWithoutAnIdentityAreCounted) {
  Limits limits;
  limits.identities = 3;  // one is the node's own
  const DesiredState desired = three();
  const InForce in_force;
  const Room room(limits, desired, in_force);
  EXPECT_THAT(room.realms_without_identity(), ElementsAre("carol"));
  Bounds bounds{};
  room.tell(bounds);
  EXPECT_EQ(bounds[GRANTD_BOUND_IDENTITIES].refused, 1U);
  EXPECT_EQ(bounds[GRANTD_BOUND_IDENTITIES].used, 3U);
}

TEST(MapSizes, HoldTheLimitsThatTheyWereMadeFor) {
  Limits limits;
  limits.grants = 7;
  limits.endpoints = 5;
  limits.rules = 100;
  limits.prefixes = 30;
  const MapSizes sizes = map_sizes(limits);
  EXPECT_EQ(sizes.at("grantd_grant"), 8U);
  EXPECT_EQ(sizes.at("grantd_bucket"), 16U);
  EXPECT_EQ(sizes.at("grantd_rule"), 200U) << "old and new rules side by side";
  const Limits held = limits_held(limits, sizes);
  EXPECT_EQ(held.grants, 7U);
  EXPECT_EQ(held.endpoints, 5U);
  EXPECT_EQ(held.rules, 100U);
  EXPECT_EQ(held.prefixes, 30U);
  EXPECT_THAT(unheld_limits(limits, held), IsEmpty());
}

TEST(MapSizes, TheSmallerOfSettingAndPinnedMapsCounts) {
  Limits made;
  made.grants = 7;
  made.rules = 100;
  Limits wanted;
  wanted.grants = 9;
  wanted.rules = 50;
  const Limits held = limits_held(wanted, map_sizes(made));
  EXPECT_EQ(held.grants, 7U);
  EXPECT_EQ(held.rules, 50U);
  const auto warnings = unheld_limits(wanted, held);
  ASSERT_EQ(warnings.size(), 1U);
  EXPECT_EQ(warnings[0].severity, Severity::Warning);
  EXPECT_THAT(warnings[0].text(), HasSubstr("--max-grants"));
  // One map alone that is too small is enough.
  EXPECT_EQ(limits_held(wanted, {{"grantd_credit", 6}}).grants, 2U);
  EXPECT_EQ(limits_held(wanted, {}).grants, 9U);
}

// As where a cgroup's memory ends: the kernel makes none of a batch, and some of it one by one.
TEST(Room, WhereThereIsNoMemoryForAllTablesGrantsHaveThoseThereIsMemoryFor) {
  model::ModelKernel kernel;
  Applier applier(kernel);
  PlanFacts facts;
  facts.interfaces = {2, 10, 11, 12};
  facts.cpus = 2;
  const auto converge = [&] {
    NodeFacts here = node();
    kernel.now = facts.now = noon().boot_now;
    here.in_force = in_force(applier.state());
    return applier.apply(plan(applier.state(), compile(three(), here, noon()), facts), facts.now);
  };
  const auto room_for_two = [&](const Operation& each) {
    const auto* make = std::get_if<operation::MakeTables>(&each);
    return make && make->slots.front() != 0 && kernel.state().tables.size() + make->slots.size() > 3;
  };
  kernel.fail_where(room_for_two);
  const ApplyReport report = converge();
  EXPECT_EQ(report.failed.size(), 1U);
  EXPECT_EQ(applier.state().tables.size(), 3U) << "slot 0's, and two Grants'";
  EXPECT_EQ(kernel.state().tables, applier.state().tables);
  kernel.fail_where({});
  EXPECT_TRUE(converge().complete());
  EXPECT_EQ(applier.state().tables.size(), 4U);
}

}  // namespace
}  // namespace grantd
