// Numbers of identities: what a stamp says is true for as long as the node may hold the packet (decision 65).
#include "agent/plan/encode.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::Contains;
using testing::Not;

const IdentityName kBob{IdentityName::Kind::Realm, "bob"}, kWasBob{IdentityName::Kind::WasRealm, "bob"};

constexpr std::chrono::seconds kNumberRest(kNumberRests / GRANTD_NS_PER_SECOND);

class NumbersTest : public PlanTest {
 protected:
  DesiredState with_fewer_addresses(const std::vector<std::string>& destinations = {"198.51.100.0/24:443/TCP"}) {
    DesiredState desired = with_grant(destinations);
    desired.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
    return desired;
  }
  static std::uint32_t number_of(const KernelState& state, const IdentityName& wanted) {
    return grantd::number_of(state, wanted);
  }
  std::uint32_t number_of(const IdentityName& wanted) { return number_of(kernel_.state(), wanted); }
  std::uint32_t number_of_grant(const std::string& name) {
    return number_of({IdentityName::Kind::Grant, "keystone-system/" + name});
  }
  static std::set<std::uint32_t> owners(const KernelState& state) {
    std::set<std::uint32_t> all;
    for (const auto& [key, number] : state.prefixes) all.insert(number);
    return all;
  }
  std::set<std::uint32_t> named() {
    std::set<std::uint32_t> all;
    for (const grantd_idrule_key& key : kernel_.state().rule_sets.at(in_force_now().rules_id).identity_rules)
      all.insert(key.identity);
    return all;
  }
  void give_out_all_but(std::uint32_t left) {
    grantd::give_out_all_but(left, kernel_);
    ASSERT_TRUE(applier_.refresh(time_.boot_now).ok());
  }
  void converge_later(const DesiredState& desired, std::chrono::seconds later) {
    pass(later);
    converge(desired);
  }
};

TEST_F(NumbersTest, EachIsGivenOutOnce) {
  converge(with_grant());
  const std::uint32_t number = number_of_grant("g"), highest = kernel_.state().identity_names.rbegin()->first;
  DesiredState other = with_grant();
  other.grants[0].name = "h";
  converge(other);
  EXPECT_EQ(number_of_grant("h"), highest + 1);
  converge_later(other, std::chrono::seconds(2));  // its policy and rules have gone
  converge(other);
  EXPECT_EQ(next(other).next_due, facts_.now + kNumberRests);
  converge_later(other, std::chrono::seconds(119));
  EXPECT_TRUE(kernel_.state().identity_names.contains(number));
  converge_later(other, std::chrono::seconds(1));
  EXPECT_FALSE(kernel_.state().identity_names.contains(number));
  other.grants.clear();
  for (int turn = 0; turn < 3; turn++) converge_later(other, kNumberRest);
  EXPECT_EQ(kernel_.state().identity_names.rbegin()->first, highest + 1) << "says how many were given out";
  converge(with_grant());
  EXPECT_EQ(number_of_grant("g"), highest + 2);
}

TEST_F(NumbersTest, WhereAllWereGivenOutOneRestsBeforeItIsGivenToAnother) {
  const auto turn = [&](const DesiredState& desired, std::chrono::seconds later = {}) {
    converge_later(desired, later);
    return next(desired).problems.size();
  };
  give_out_all_but(4);  // for the realms and the Grant
  EXPECT_EQ(turn(with_grant()), 0U);
  EXPECT_EQ(number_of_grant("g"), GRANTD_MAX_IDENTITIES);
  DesiredState other = with_grant();
  other.grants[0].name = "h";
  EXPECT_EQ(turn(other), 0U);
  const std::uint32_t number = number_of_grant("h");
  EXPECT_EQ(number, GRANTD_IDENTITY_FIRST + 0U);
  other.grants[0].name = "i";
  turn(other);
  EXPECT_NE(number_of_grant("i"), number);
  turn(other, std::chrono::seconds(2));
  turn(other, kNumberRest);
  other.grants[0].name = "j";
  turn(other);
  EXPECT_EQ(number_of_grant("j"), number);
  other.realms.clear();
  other.grants.clear();
  for (int again = 0; again < 3; again++) turn(other, kNumberRest);
  EXPECT_EQ(kernel_.state().identity_names.size(), 1U) << "says that all were given out";
}

// The last one has to be written down before another comes again.
TEST_F(NumbersTest, InThePlanThatGivesOutTheLastOneNoneComesAgain) {
  give_out_all_but(2);
  const Plan first = next(with_grant());
  EXPECT_EQ(first.problems.size(), 2U);
  EXPECT_EQ(first.next_due, facts_.now + kRetireAfter);
  converge(with_grant());
  EXPECT_EQ(next(with_grant()).problems.size(), 0U);
  converge(with_grant());
  for (const char* name : {"alice", "bob", "carol"}) EXPECT_NE(number_of(realm(name)), 0U) << name;
  EXPECT_NE(number_of_grant("g"), 0U);
}

// A flow of the old number would follow rules that name the new bearer.
TEST_F(NumbersTest, WhereTheyComeAgainALossPutsAllFlowsInDoubt) {
  give_out_all_but(0);
  converge(with_grant());
  const BegunFlow alices = begin(realm("alice"));
  ASSERT_TRUE(goes_on(alices));
  converge(with_fewer_addresses());
  EXPECT_FALSE(goes_on(alices));
  DesiredState narrow = with_fewer_addresses();
  narrow.grants[0].ingress_from = {Party::Grantee};
  converge(narrow);
  const BegunFlow bobs = begin(realm("bob"));
  converge(with_fewer_addresses());
  EXPECT_FALSE(goes_on(bobs)) << "alice has a number that was another's, perhaps";
}

TEST_F(NumbersTest, WhereTheyComeAgainALossPutsTheFlowsOfARefusedGrantInDoubt) {
  give_out_all_but(0);
  converge(with_grant());
  const BegunFlow alices = begin(realm("alice"));
  ASSERT_TRUE(goes_on(alices));
  EXPECT_TRUE(converge(with_fewer_addresses({"realm:dave"})).complete());
  EXPECT_FALSE(goes_on(alices));
}

// The rules may name the new number already, in place, and the policy in force follows them.
TEST_F(NumbersTest, WhereTheyComeAgainALossThatWasCutShortPutsAllFlowsInDoubt) {
  give_out_all_but(0);
  converge(with_grant());
  const std::size_t steps = next(with_fewer_addresses()).steps.size();
  ASSERT_GT(steps, 4U);
  for (std::size_t done = 0; done < steps; done++) {
    converge(with_grant());
    const BegunFlow alices = begin(realm("alice"));
    ASSERT_TRUE(goes_on(alices));
    EXPECT_TRUE(converge_cut_short(with_fewer_addresses(), done).complete());
    converge(with_fewer_addresses());
    EXPECT_FALSE(goes_on(alices)) << "cut after " << done << " steps";
  }
}

TEST_F(NumbersTest, WhoMayReachInAgainGoesOnUnlessAnAddressWasLostMeanwhile) {
  DesiredState narrow = with_grant();
  narrow.grants[0].ingress_from = {Party::Grantee};
  for (const bool loses : {false, true}) {
    converge(with_grant());
    const BegunFlow alices = begin(realm("alice"));
    ASSERT_TRUE(goes_on(alices));
    converge(narrow);
    EXPECT_FALSE(goes_on(alices)) << "who is left out is refused by the rules";
    DesiredState fewer = narrow;
    fewer.realms[0].addresses.pop_back();
    if (loses) converge(fewer);
    converge(with_grant());
    EXPECT_EQ(goes_on(alices), !loses);
  }
}

// How many were given out is lost with the names.
TEST_F(NumbersTest, WhereTheNamesAreLostTheyComeAgain) {
  converge(with_grant());
  KernelState state = applier_.state();
  const BegunFlow alices = begin(realm("alice"));
  state.identity_names.clear();
  node_.in_force = in_force(state);
  Plan lost = plan(state, compile(with_grant(), node_, time_), facts_);
  const auto* mark = std::get_if<operation::PutIdentityName>(&lost.steps.at(1).operation);
  ASSERT_TRUE(mark) << operation_name(lost.steps.at(1).operation);
  EXPECT_EQ(mark->identity, GRANTD_MAX_IDENTITIES) << "before anything bears a new one";
  record_all(lost, state);
  EXPECT_FALSE(grantd::goes_on(state, alices));
  EXPECT_TRUE(state.identity_names.contains(GRANTD_MAX_IDENTITIES));
}

// The rules may bear it: they are changed in place, and its name may fail.
TEST_F(NumbersTest, WhereTheLastOneIsInUseWithoutANameTheyComeAgain) {
  give_out_all_but(1);
  converge(with_grant());
  KernelState state = applier_.state();
  state.identity_names.erase(GRANTD_MAX_IDENTITIES);
  auto& [rules_id, rules] = *state.rule_sets.begin();
  rules.identity_rules.push_back({rules_id, GRANTD_MAX_IDENTITIES, GRANTD_INGRESS});
  DesiredState dave = with_grant();
  dave.realms.push_back(desired::realm("dave", {"203.0.113.0/24"}));
  node_.in_force = in_force(state);
  record_all(plan(state, compile(dave, node_, time_), facts_), state);
  EXPECT_NE(number_of(state, realm("dave")), 0U);
  EXPECT_TRUE(state.identity_names.contains(GRANTD_MAX_IDENTITIES));
}

// It would not rest before it is another's.
TEST_F(NumbersTest, NoPolicySaysANumberThatHasNoName) {
  DesiredState both = with_grant();
  both.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
  for (const DesiredState& after : {with_grant(), with_grant({"realm:dave"})}) {
    converge(both);
    const std::size_t steps = next(after).steps.size();
    ASSERT_GT(steps, 4U);
    for (std::size_t done = 0; done < steps; done++) {
      pass(std::chrono::seconds(2));
      ASSERT_TRUE(converge(both).complete());
      kernel_.fail_where([](const Operation& each) {
        const auto* name = std::get_if<operation::PutIdentityName>(&each);
        return name && name->name.kind == IdentityName::Kind::WasGrant;
      });
      converge_cut_short(after, done);
      converge(after);
      for (const auto& [slot, policy_id] : kernel_.state().published)
        EXPECT_TRUE(kernel_.state().identity_names.contains(kernel_.state().policies.at(policy_id).identity))
            << "cut after " << done << " steps";
      kernel_.fail_where({});
    }
  }
}

TEST_F(NumbersTest, AnAgentThatStartsCountsAnew) {
  converge(with_grant());
  DesiredState without = with_grant();
  without.grants.clear();
  const std::uint32_t number = number_of_grant("g");
  DesiredState with_dave = without;  // for a while: the highest number keeps its name
  with_dave.realms.push_back(desired::realm("dave", {"203.0.113.0/24"}));
  converge(with_dave);
  for (int turn = 0; turn < 3; turn++) converge_later(without, std::chrono::seconds(2));
  pass(std::chrono::seconds(100));
  Applier again(kernel_);
  ASSERT_TRUE(again.refresh(time_.boot_now).ok());
  const auto turn = [&](std::chrono::seconds later) {
    pass(later);
    ASSERT_TRUE(again.refresh(time_.boot_now).ok()) << "to look for drift begins nothing anew";
    facts_.now = time_.boot_now;
    node_.in_force = in_force(again.state());
    again.apply(plan(again.state(), compile(without, node_, time_), facts_), facts_.now);
  };
  turn(std::chrono::seconds(119));
  EXPECT_TRUE(kernel_.state().identity_names.contains(number));
  turn(std::chrono::seconds(1));
  EXPECT_FALSE(kernel_.state().identity_names.contains(number));
}

TEST_F(NumbersTest, ARealmThatLosesAnAddressHasAnother) {
  converge(with_grant());
  const std::uint32_t number = number_of(kBob);
  converge(with_fewer_addresses());
  EXPECT_EQ(number_of(kWasBob), number);
  EXPECT_NE(number_of(kBob), 0U);
  EXPECT_THAT(named(), Not(Contains(number)));
  EXPECT_THAT(named(), Contains(number_of(kBob)));
  EXPECT_THAT(owners(kernel_.state()), Not(Contains(number)));
  EXPECT_THAT(owners(kernel_.state()), Contains(number_of(kBob)));
  EXPECT_EQ(in_force_now().grantee_identity, number_of(kBob));
  EXPECT_EQ(decode_identity_name(encode_identity_name(kWasBob)), kWasBob);
}

TEST_F(NumbersTest, ARealmThatComesBackHasAnother) {
  converge(with_grant());
  const std::uint32_t number = number_of({IdentityName::Kind::Realm, "carol"});
  ASSERT_NE(number, 0U);
  DesiredState without = with_grant();
  std::erase_if(without.realms, [](const Realm& realm) { return realm.name == "carol"; });
  converge(without);
  converge(with_grant());
  EXPECT_NE(number_of({IdentityName::Kind::Realm, "carol"}), number);
}

// Rules of addresses stay where they are: pods come and go too often to write them again.
TEST_F(NumbersTest, AGrantThatLosesAGuestHasAnother) {
  DesiredState both = with_grant();
  both.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
  converge(both);
  const IdentityName grant{IdentityName::Kind::Grant, "keystone-system/g"},
      was{IdentityName::Kind::WasGrant, grant.name};
  const std::uint32_t number = number_of(grant), rules_id = in_force_now().rules_id;
  const BegunFlow bobs = begin(realm("bob")), siblings = begin(grant);
  ASSERT_TRUE(goes_on(bobs));
  ASSERT_TRUE(goes_on(siblings));
  EXPECT_THAT(named(), Contains(number));
  converge(with_grant());
  EXPECT_EQ(number_of(was), number);
  EXPECT_NE(number_of(grant), 0U);
  EXPECT_THAT(named(), testing::AllOf(Not(Contains(number)), Contains(number_of(grant))));
  EXPECT_THAT(owners(kernel_.state()), testing::AllOf(Not(Contains(number)), Contains(number_of(grant))));
  EXPECT_EQ(in_force_now().identity, number_of(grant));
  EXPECT_EQ(in_force_now().rules_id, rules_id);
  EXPECT_FALSE(goes_on(siblings));
  EXPECT_TRUE(goes_on(bobs)) << "pods come and go";
  EXPECT_EQ(decode_identity_name(encode_identity_name(was)), was);
  EXPECT_EQ(decode_identity_name(encode_identity_name(grant)), grant);
  KernelState read = kernel_.read().value();
  converge_later(with_grant(), std::chrono::seconds(2));
  EXPECT_TRUE(next(with_grant()).steps.empty()) << "what is kept of its rules is what they are";
}

TEST_F(NumbersTest, ALongNameOfAGrantWithoutGuestsFits) {
  const IdentityName was{IdentityName::Kind::WasGrant, std::string(63, 'n') + "/" + std::string(253, 'g')};
  EXPECT_EQ(decode_identity_name(encode_identity_name(was)), was);
}

TEST_F(NumbersTest, ARefusedGrantThatLosesAGuestHasAnother) {
  DesiredState both = with_grant();
  both.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
  converge(both);
  const std::uint32_t number = number_of_grant("g"), rules_id = in_force_now().rules_id;
  const DesiredState refused = with_grant({"realm:dave"});
  EXPECT_TRUE(converge(refused).complete());
  EXPECT_THAT(named(), testing::AllOf(Not(Contains(number)), Contains(number_of_grant("g"))));
  EXPECT_EQ(in_force_now().identity, number_of_grant("g"));
  EXPECT_EQ(in_force_now().rules_id, rules_id);
}

// No manifest says any more what to open for it when it has one again.
TEST_F(NumbersTest, WhoHasNoAddressForAWhileStaysInTheRulesOfARefusedGrant) {
  converge(with_grant());
  DesiredState refused = with_grant({"realm:dave"});
  std::erase_if(refused.realms, [](const Realm& realm) { return realm.name == "bob"; });
  EXPECT_TRUE(converge(refused).complete());
  converge(with_grant({"realm:dave"}));
  EXPECT_THAT(named(), Contains(number_of(kBob)));
  EXPECT_THAT(owners(kernel_.state()), Contains(number_of(kBob)));
}

// The values of its rules are in the kernel alone.
TEST_F(NumbersTest, ARefusedGrantGoesOnUnderTheNewOne) {
  converge(with_grant());
  const auto before = kernel_.rules(in_force_now().rules_id);
  const std::uint32_t number = number_of(kBob);
  const DesiredState refused = with_fewer_addresses({"realm:dave"});
  EXPECT_TRUE(converge(refused).complete());
  const auto after = kernel_.rules(in_force_now().rules_id);
  EXPECT_THAT(named(), Not(Contains(number)));
  EXPECT_THAT(named(), Contains(number_of(kBob)));
  EXPECT_EQ(in_force_now().grantee_identity, number_of(kBob));
  ASSERT_EQ(after.rules.size(), before.rules.size());
  ASSERT_EQ(after.identity_rules.size(), before.identity_rules.size());
  for (std::size_t index = 0; index < before.rules.size(); index++)
    EXPECT_TRUE(same_bytes(after.rules[index].second, before.rules[index].second));
  for (std::size_t index = 0; index < before.identity_rules.size(); index++)
    EXPECT_TRUE(same_bytes(after.identity_rules[index].second, before.identity_rules[index].second));
  converge_later(refused, std::chrono::seconds(2));
  EXPECT_TRUE(next(refused).steps.empty());
}

TEST_F(NumbersTest, WhereNoneIsLeftWhoLosesAnAddressIsNobody) {
  converge(with_grant());
  KernelState state = applier_.state();
  const std::uint32_t number = number_of(kBob);
  for (std::uint32_t each = GRANTD_IDENTITY_FIRST; each <= GRANTD_MAX_IDENTITIES; each++)
    state.identity_names.try_emplace(each, IdentityName{IdentityName::Kind::Realm, "other-" + std::to_string(each)});
  const auto turn = [&] {
    node_.in_force = in_force(state);
    const Plan lost = plan(state, compile(with_fewer_addresses(), node_, time_), facts_);
    record_all(lost, state);
    return lost;
  };
  const Plan lost = turn();
  ASSERT_EQ(lost.problems.size(), 1U);
  EXPECT_THAT(lost.problems[0].message, testing::HasSubstr("until one is free"));
  EXPECT_EQ(lost.next_due, facts_.now + kRetireAfter);
  EXPECT_EQ(number_of(state, kWasBob), number);
  EXPECT_THAT(owners(state), Not(Contains(number)));
  state.identity_names.erase(GRANTD_MAX_IDENTITIES);
  turn();
  EXPECT_EQ(number_of(state, kBob), GRANTD_MAX_IDENTITIES);
  EXPECT_THAT(owners(state), Contains(GRANTD_MAX_IDENTITIES));
}

// A tenant whose pods come and go takes no more than its part of the numbers.
TEST_F(NumbersTest, AGrantThatLosesGuestsAllTheTimeLeavesNumbersToOthers) {
  DesiredState both = with_grant();
  both.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
  converge(both);
  KernelState state = applier_.state();
  const IdentityName was{IdentityName::Kind::WasGrant, "keystone-system/other"};
  std::uint32_t number = 1000;
  for (int each = 1; each < GRANTD_MAX_IDENTITIES / 2; each++) state.identity_names[number++] = was;
  const auto turn = [&](const DesiredState& desired) {
    node_.in_force = in_force(state);
    const Plan next = plan(state, compile(desired, node_, time_), facts_);
    record_all(next, state);
    return next.problems.size();
  };
  const IdentityName grant{IdentityName::Kind::Grant, "keystone-system/g"};
  EXPECT_EQ(turn(with_grant()), 0U) << "the last one that is left";
  EXPECT_NE(number_of(state, grant), 0U);
  EXPECT_EQ(turn(both), 0U);
  for (int again = 0; again < 2; again++) {
    EXPECT_EQ(turn(with_grant()), 1U);
    EXPECT_EQ(number_of(state, grant), 0U) << "nor in the next plan";
  }
  DesiredState dave = with_grant();
  dave.realms.push_back(desired::realm("dave", {"203.0.113.0/24"}));
  turn(dave);
  EXPECT_NE(number_of(state, {IdentityName::Kind::Realm, "dave"}), 0U);
  state.identity_names.erase(1000);
  state.identity_names.erase(1001);
  EXPECT_EQ(turn(with_grant()), 0U);
  EXPECT_NE(number_of(state, grant), 0U);
}

// Nobody can tell who has lost one.
TEST_F(NumbersTest, WhereThePrefixesAreLostAllRealmsHaveOthers) {
  converge(with_grant());
  const std::uint32_t number = number_of(kBob);
  KernelState state = applier_.state();
  state.prefixes.clear();
  node_.in_force = in_force(state);
  record_all(plan(state, compile(with_grant(), node_, time_), facts_), state);
  EXPECT_NE(number_of(state, kBob), number);
  EXPECT_THAT(owners(state), Not(Contains(number)));
  EXPECT_THAT(owners(state), Contains(number_of(state, kBob)));
}

// In the maps 0 is nobody, no policy and no rules.
TEST_F(NumbersTest, NoneIs0) {
  grantd_node last = kernel_.state().node;
  last.next_policy_id = last.next_endpoint_version = ~std::uint64_t{0};
  last.next_endpoint_id = last.next_rules_id = ~std::uint32_t{0};
  ASSERT_TRUE(kernel_.perform(operation::PutNode{last}).ok());
  ASSERT_TRUE(applier_.refresh(time_.boot_now).ok());
  DesiredState desired = with_grant();
  desired.grants.push_back(desired::grant("h", {"198.51.100.0/24:80/TCP"}));
  desired.workloads.push_back(desired::workload("db", "h", "veth-b", {"10.20.0.3"}));
  converge(desired);
  const KernelState& state = kernel_.state();
  std::set<std::uint64_t> policies, rules, guests, versions;
  for (const auto& [slot, policy_id] : state.published) policies.insert(policy_id);
  for (const auto& [policy_id, policy] : state.policies) rules.insert(policy.rules_id);
  for (const auto& [ifindex, endpoint] : state.endpoints) {
    guests.insert(endpoint.endpoint_id);
    versions.insert(endpoint.version);
  }
  EXPECT_THAT(policies, testing::ElementsAre(1, last.next_policy_id));
  EXPECT_THAT(rules, testing::ElementsAre(1, last.next_rules_id));
  EXPECT_THAT(guests, testing::ElementsAre(1, last.next_endpoint_id));
  EXPECT_THAT(versions, testing::ElementsAre(1, last.next_endpoint_version));
}

}  // namespace
}  // namespace grantd
