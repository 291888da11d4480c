// Grants that this node refuses: how long what was in force for them stays.
#include "agent/compile/realm_prefixes.h"
#include "agent/plan/encode.h"
#include "agent/plan/width.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;

class RefusedGrants : public PlanTest {
 protected:
  RefusedGrants() { facts_.boot_to_wall_ns = 1'000 * kHour; }

  DesiredState dated() {
    DesiredState desired = with_grant();
    desired.grants[0].valid_until = time_.now + std::chrono::hours(2);
    return desired;
  }
  void set_clock_ahead() {
    time_.now += std::chrono::hours(1);
    facts_.boot_to_wall_ns += kHour;
  }
  // As an agent that is killed before the step `name` of its plan, and reads the maps when it is started again.
  void die_before(const char* name, const DesiredState& desired) {
    Plan plan = next(desired);
    const auto at = std::find_if(plan.steps.begin(), plan.steps.end(),
                                 [&](const Step& step) { return operation_name(step.operation) == std::string(name); });
    ASSERT_NE(at, plan.steps.end());
    plan.steps.erase(at, plan.steps.end());
    applier_.apply(plan, facts_.now);
    ASSERT_TRUE(applier_.refresh(facts_.now).ok());
  }
  std::uint64_t offset() const { return kernel_.state().node.boot_to_wall_ns; }

  const DesiredState refused_ = with_grant({"realm:dave"});
};

TEST_F(RefusedGrants, AClockThatWasSetIsReckonedWithThoughTheAgentDiedBeforeThePublication) {
  ASSERT_TRUE(converge(dated()).complete());
  const BootNanoseconds end = in_force_now().not_after_ns;
  set_clock_ahead();
  die_before("publish", refused_);
  ASSERT_EQ(in_force_now().not_after_ns, end) << "the control";
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
  EXPECT_EQ(offset(), facts_.boot_to_wall_ns);
  EXPECT_THAT(names(next(refused_)), IsEmpty()) << "once";
}

// Its plan had the new end of a Grant that was good; the next agent finds it refused.
TEST_F(RefusedGrants, AClockThatWasSetIsReckonedWithThoughTheGrantWasGoodThen) {
  const DesiredState desired = dated();
  ASSERT_TRUE(converge(desired).complete());
  const BootNanoseconds end = in_force_now().not_after_ns;
  set_clock_ahead();
  die_before("publish", desired);
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
}

TEST_F(RefusedGrants, AClockIsNotWrittenDownWhileAnEndByTheOldOneIsInForce) {
  ASSERT_TRUE(converge(dated()).complete());
  const BootNanoseconds end = in_force_now().not_after_ns;
  const std::uint64_t before = offset();
  set_clock_ahead();
  kernel_.fail("publish");
  EXPECT_THAT(converge(refused_).closed, IsEmpty()) << "nor can it be closed";
  EXPECT_EQ(offset(), before);
  kernel_.fail("");
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
  EXPECT_EQ(offset(), facts_.boot_to_wall_ns);
}

TEST_F(RefusedGrants, AClockIsWrittenDownWhereTheEndByTheOldOneIsClosed) {
  ASSERT_TRUE(converge(dated()).complete());
  set_clock_ahead();
  kernel_.fail("put_policy");
  EXPECT_THAT(converge(refused_).closed, ElementsAre(1U));
  EXPECT_EQ(offset(), facts_.boot_to_wall_ns);
}

// Nothing of what was written by it is in doubt.
TEST_F(RefusedGrants, TheFirstClockIsWrittenDownAtOnce) {
  const Plan plan = next(with_grant());
  const auto steps = names(plan);
  EXPECT_EQ(std::count(steps.begin(), steps.end(), "put_node"), 1);
  EXPECT_EQ(steps.front(), "put_node");
}

// The Grant of this name was deleted, and this one has never been in force.
TEST_F(RefusedGrants, WhatWasInForceForADeletedGrantOfItsNameEnds) {
  ASSERT_TRUE(converge(with_grant()).complete());
  DesiredState another = refused_;
  another.grants[0].made_anew = true;
  const CompiledPolicy compiled = compile(another, node_, time_);
  ASSERT_EQ(compiled.refused.size(), 1U);
  EXPECT_THAT(compiled.refused[0].why, HasSubstr("another Grant of its name, which was deleted"));
  ASSERT_TRUE(converge(another).complete());
  EXPECT_EQ(in_force_now().not_after_ns, kAtOnce);
  another.grants[0].made_anew = false;  // as it is told once
  ASSERT_TRUE(converge(another).complete());
  EXPECT_EQ(in_force_now().not_after_ns, kAtOnce);
  ASSERT_TRUE(converge(with_grant()).complete());
  EXPECT_EQ(in_force_now().not_after_ns, GRANTD_TIME_NEVER);
}

// What became the node's own since the rules of a Grant that is refused now were made.
class RefusedGrantsAndTheNodesAddresses : public RefusedGrants {
 protected:
  void gain(const std::string& prefix) { node_.local_routes.push_back(desired::prefix(prefix)); }
  operation::PutRules rules() const { return kernel_.rules(in_force_now().rules_id); }
  // PREFIX of those among the destinations, and how many ranges it opens.
  std::map<std::string, int> opened() const {
    std::map<std::string, int> opened;
    for (const auto& [key, ranges] : rules().rules)
      if (const IpPrefix prefix = decode_rule_prefix(key); desired::prefix("198.51.100.0/24").contains(prefix))
        opened[prefix.text()] = ranges.count;
    return opened;
  }
};

TEST_F(RefusedGrantsAndTheNodesAddresses, AreClosedInTheRulesThatItKeeps) {
  ASSERT_TRUE(converge(with_grant({"198.51.100.0/24:443/TCP"})).complete());
  const std::uint64_t before = published();
  const RuleSet rules_before = applier_.state().rule_sets.at(in_force_now().rules_id);
  ASSERT_TRUE(converge(refused_).complete());
  ASSERT_EQ(published(), before) << "the control";
  gain("198.51.100.9/32");
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_NE(published(), before) << "its flows are judged again";
  EXPECT_THAT(opened(), ElementsAre(Pair("198.51.100.0/24", 1), Pair("198.51.100.9/32", 0)));
  EXPECT_EQ(rules().identity_rules.size(), rules_before.identity_rules.size());
  const RuleSet& now = applier_.state().rule_sets.at(in_force_now().rules_id);
  EXPECT_EQ(now.sources, rules_before.sources);
  EXPECT_EQ(now.sources_digest, rules_before.sources_digest);
  EXPECT_THAT(names(next(refused_)), ElementsAre("put_bounds")) << "once";
}

TEST_F(RefusedGrantsAndTheNodesAddresses, AreClosedWithWhatLiesInside) {
  ASSERT_TRUE(
      converge(with_grant({"198.51.100.0/24:443/TCP", "198.51.100.8/30:80/TCP", "198.51.100.9:22/TCP"})).complete());
  gain("198.51.100.8/29");
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_THAT(opened(), ElementsAre(Pair("198.51.100.0/24", 1), Pair("198.51.100.8/29", 0), Pair("198.51.100.8/30", 0),
                                    Pair("198.51.100.9/32", 0)));
}

TEST_F(RefusedGrantsAndTheNodesAddresses, StayAsTheyAreWhereTheRulesKnewThem) {
  gain("198.51.100.9/32");
  gain("198.51.100.8/29");
  node_.pod_cidrs = {desired::prefix("10.42.0.0/16")};
  gain("10.42.0.1/32");
  ASSERT_TRUE(converge(with_grant({"198.51.100.0/24", "198.51.100.9", "10.42.0.0/16", "10.42.0.1"})).complete());
  EXPECT_THAT(names(next(refused_)), IsEmpty());
}

TEST_F(RefusedGrantsAndTheNodesAddresses, AreClosedThoughTheAgentDiedBeforeThePublication) {
  ASSERT_TRUE(converge(with_grant()).complete());
  const std::uint64_t before = published();
  gain("198.51.100.9/32");
  die_before("publish", refused_);
  ASSERT_TRUE(converge(refused_).complete());
  EXPECT_NE(published(), before);
  EXPECT_EQ(opened().at("198.51.100.9/32"), 0);
}

TEST_F(RefusedGrantsAndTheNodesAddresses, EndTheGrantWhereTheyCannotBeClosed) {
  ASSERT_TRUE(converge(with_grant()).complete());
  gain("198.51.100.9/32");
  kernel_.fail("put_rules");
  EXPECT_THAT(converge(refused_).closed, ElementsAre(1U));
}

TEST_F(RefusedGrantsAndTheNodesAddresses, AreNobodysInARealmThoughPrefixesAreTooMany) {
  const DesiredState desired = with_grant({"realm:carol"});
  ASSERT_TRUE(converge(desired).complete());
  Limits limits;
  limits.prefixes = 1;
  const auto converge_with_limits = [&] {
    node_.in_force = in_force(applier_.state());
    const CompiledPolicy compiled = compile(desired, node_, time_, limits);
    const Plan plan = grantd::plan(applier_.state(), compiled, facts_);
    EXPECT_TRUE(applier_.apply(plan, facts_.now).complete());
    return compiled.prefixes_refused;
  };
  EXPECT_FALSE(converge_with_limits()) << "as many as before";
  const BegunFlow flow = begin(realm("carol"));
  const PrefixKey own{GRANTD_UPLINK_DESTINATION, desired::prefix("192.0.2.9/32")};
  gain(own.prefix.text());
  EXPECT_TRUE(converge_with_limits());
  ASSERT_TRUE(applier_.state().prefixes.contains(own));
  EXPECT_EQ(applier_.state().prefixes.at(own), GRANTD_IDENTITY_NOBODY);
  EXPECT_FALSE(goes_on(flow)) << "begun by who had it before";
  const std::uint64_t before = published();
  EXPECT_FALSE(converge_with_limits()) << "what is closed counts as in force";
  EXPECT_EQ(published(), before) << "once";
}

RC_GTEST_FIXTURE_PROP(RefusedGrantsAndTheNodesAddresses, NeverOpenWhatItsVersionInForceWouldNotOpenNow, ()) {
  const auto prefix =
      rc::gen::map(rc::gen::pair(rc::gen::inRange(0U, 16U), rc::gen::inRange(26, 33)), [](const auto& drawn) {
        const auto [host, length] = drawn;
        return "198.51.100." + std::to_string(host & ~0U << (32 - length)) + "/" + std::to_string(length);
      });
  const auto destination = rc::gen::map(rc::gen::pair(prefix, rc::gen::element<std::string>("", ":80/TCP", ":443/TCP")),
                                        [](const auto& drawn) { return drawn.first + drawn.second; });
  const auto some = [](const auto& of) {
    return rc::gen::resize(100, rc::gen::container<std::vector<std::string>>(*rc::gen::inRange<std::size_t>(1, 6), of));
  };
  for (const std::string& each : *some(prefix)) gain(each);
  const DesiredState good = with_grant(*some(destination));
  RC_ASSERT(converge(good).complete());
  RC_ASSERT(next(refused_).steps.empty());
  for (const std::string& each : *some(prefix)) gain(each);
  const DesiredState as_refused = refused_;
  const std::uint64_t before = published();
  RC_ASSERT(converge(as_refused).complete());
  RC_CLASSIFY(published() != before, "something is closed");
  const operation::PutRules kept = rules();
  const auto steps = names(next(as_refused));
  RC_ASSERT(std::count(steps.begin(), steps.end(), "copy_rules") == 0);
  RC_ASSERT(converge(good).complete());
  RC_ASSERT(opens_as_much(rules(), kept));
}

}  // namespace
}  // namespace grantd
