// Records that are lost: their map got another version in an upgrade, or somebody removed its pin.
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <set>

namespace grantd {
namespace {

using desired::workload;

class LostRecordsTest : public PlanTest {};

// Flows remember policies of which nothing else is left, so no number may come again.
TEST_F(LostRecordsTest, NumbersWhoseRecordIsLostAreNotGivenOutAgain) {
  converge(with_grant());
  converge(with_grant({"203.0.113.0/24"}));
  for (int lost = 0; lost < 3; lost++) {
    pass(std::chrono::seconds(5));
    KernelState state = applier_.state();
    state.node = grantd_node{};
    std::uint64_t highest = 0, version = 0;
    std::uint32_t endpoint = 0, rules = 0;
    for (const auto& [id, policy] : state.policies) highest = std::max(highest, id);
    for (const auto& [id, set] : state.rule_sets) rules = std::max(rules, id);
    for (const auto& [ifindex, record] : state.endpoints) {
      version = std::max<std::uint64_t>(version, record.version);
      endpoint = std::max(endpoint, record.endpoint_id);
    }
    // All of it may be gone but the tables of flows.
    if (lost == 1) {
      state.policies.clear();
      state.published.clear();
      state.rule_sets.clear();
      state.endpoints.clear();
      state.guests.clear();
    }
    DesiredState desired = with_grant({"203.0.113." + std::to_string(lost)});
    desired.workloads.push_back(workload("db-" + std::to_string(lost), "g", "veth-b", {"10.20.0.3"}));
    node_.in_force = in_force(state);
    facts_.now = time_.boot_now;
    std::size_t seen = 0;
    for (const Step& step : plan(state, compile(desired, node_, time_), facts_).steps) {
      if (const auto* policy = std::get_if<operation::PutPolicy>(&step.operation)) {
        EXPECT_GT(policy->policy_id, highest + 1000) << "and beyond what is not to be seen any more";
        seen++;
      }
      if (const auto* put = std::get_if<operation::PutRules>(&step.operation)) {
        EXPECT_GT(put->rules_id, rules + 1000);
        seen++;
      }
      const auto* record = std::get_if<operation::PutEndpoint>(&step.operation);
      if (record && record->endpoint->ifindex == 11) {
        EXPECT_GT(record->endpoint->endpoint_id, endpoint + 1000);
        EXPECT_GT(record->endpoint->version, version + 1000);
        seen++;
      }
    }
    EXPECT_GE(seen, 3U) << "a guest of another name is closed first";
    converge(desired);
  }
}

// Another version of their map, or a pin that somebody removed while no agent ran.
TEST_F(LostRecordsTest, WhereThePrefixesAreLostAllFlowsAreInDoubt) {
  converge(with_grant());
  DesiredState fewer = with_grant();
  fewer.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  KernelState state = applier_.state();
  state.prefixes.clear();
  node_.in_force = in_force(state);
  const BegunFlow flows[] = {begin_flow(state, realm("alice")), begin_flow(state, realm("bob"))};
  for (const BegunFlow& flow : flows) ASSERT_TRUE(grantd::goes_on(state, flow));
  const Plan lost = plan(state, compile(fewer, node_, time_), facts_);
  const auto published = std::count_if(lost.steps.begin(), lost.steps.end(), [](const Step& step) {
    return std::holds_alternative<operation::PutPolicy>(step.operation);
  });
  EXPECT_EQ(published, 1);
  record_all(lost, state);
  for (const BegunFlow& flow : flows) EXPECT_FALSE(grantd::goes_on(state, flow));
  node_.in_force = in_force(state);
  for (const Step& step : plan(state, compile(fewer, node_, time_), facts_).steps)
    EXPECT_FALSE(std::holds_alternative<operation::PutPolicy>(step.operation)) << "once is enough";
}

TEST_F(LostRecordsTest, WhereThePrefixesAreLostAndTheNewOnesRefusedFlowsAreInDoubtOnce) {
  converge(with_grant());
  KernelState state = applier_.state();
  state.prefixes.clear();
  node_.in_force = in_force(state);
  Limits limits;
  limits.prefixes = 1;
  const BegunFlow bobs = begin_flow(state, realm("bob"));
  ASSERT_TRUE(grantd::goes_on(state, bobs));
  const auto published_by = [&] {
    const CompiledPolicy compiled = compile(with_grant(), node_, time_, limits);
    EXPECT_TRUE(compiled.prefixes_refused);
    std::size_t count = 0;
    const Plan next = plan(state, compiled, facts_);
    for (const Step& step : next.steps) count += std::holds_alternative<operation::PutPolicy>(step.operation);
    record_all(next, state);
    EXPECT_FALSE(grantd::goes_on(state, bobs));
    node_.in_force = in_force(state);
    return count;
  };
  EXPECT_EQ(published_by(), 1U);
  EXPECT_EQ(published_by(), 0U);
}

// Without its name a number still means its old bearer in rules that stay in force.
TEST_F(LostRecordsTest, AnIdentityOfRulesInForceIsNobodyElses) {
  converge(with_grant());
  DesiredState later = with_grant({"realm:dave"});  // refused: its rules stay
  later.realms.push_back(desired::realm("aaron", {"203.0.113.0/24"}));
  KernelState state = applier_.state();
  state.identity_names.clear();
  std::set<std::uint32_t> in_use;
  for (const auto& [id, rules] : state.rule_sets)
    for (const grantd_idrule_key& key : rules.identity_rules) in_use.insert(key.identity);
  ASSERT_FALSE(in_use.empty());
  node_.in_force = in_force(state);
  std::size_t named = 0;
  for (const Step& step : plan(state, compile(later, node_, time_), facts_).steps)
    if (const auto* name = std::get_if<operation::PutIdentityName>(&step.operation)) {
      EXPECT_FALSE(in_use.contains(name->identity)) << name->name.name;
      named++;
    }
  EXPECT_GE(named, 4U);
}

// Of a refused Grant what is lost cannot be written again, so nothing may be left that a loss would not reach.
TEST_F(LostRecordsTest, ARefusedGrantWhoseRecordsAreLostFeelsWhatItsRealmsLose) {
  converge(with_grant());
  DesiredState fewer = with_grant({"realm:dave"});
  fewer.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  const auto steps = [&](const KernelState& state) {
    node_.in_force = in_force(state);
    return plan(state, compile(fewer, node_, time_), facts_).steps;
  };
  KernelState rules_lost = applier_.state();
  for (auto& [id, rules] : rules_lost.rule_sets) rules.identity_rules.clear();
  std::size_t judged_again = 0;
  for (const Step& step : steps(rules_lost))
    judged_again += std::holds_alternative<operation::PutPolicy>(step.operation);
  EXPECT_EQ(judged_again, 1U) << "by rules that name nobody";

  KernelState policies_lost = applier_.state();
  policies_lost.policies.clear();
  std::size_t closed = 0;
  for (const Step& step : steps(policies_lost))
    if (const auto* publish = std::get_if<operation::Publish>(&step.operation)) closed += publish->policy_id == 0;
  EXPECT_EQ(closed, 1U);
}

}  // namespace
}  // namespace grantd
