// Numbers of identities: what a stamp says is true for as long as the node may hold the packet (decision 65).
#include "agent/plan/encode.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::Contains;
using testing::Not;

const IdentityName kBob{IdentityName::Kind::Realm, "bob"}, kWasBob{IdentityName::Kind::WasRealm, "bob"};

class NumbersTest : public PlanTest {
 protected:
  DesiredState with_fewer_addresses(const std::vector<std::string>& destinations = {"198.51.100.0/24:443/TCP"}) {
    DesiredState desired = with_grant(destinations);
    desired.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
    return desired;
  }
  static std::uint32_t number_of(const KernelState& state, const IdentityName& wanted) {
    for (const auto& [number, name] : state.identity_names)
      if (name == wanted) return number;
    return GRANTD_IDENTITY_NOBODY;
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
  void converge_later(const DesiredState& desired, std::chrono::seconds later) {
    pass(later);
    converge(desired);
  }
};

TEST_F(NumbersTest, OneThatIsFreeRestsBeforeItIsGivenToAnother) {
  converge(with_grant());
  const std::uint32_t number = number_of_grant("g");
  DesiredState other = with_grant();
  other.grants[0].name = "h";
  converge(other);
  EXPECT_NE(number_of_grant("h"), number);
  converge_later(other, std::chrono::seconds(2));  // its policy and rules have gone
  converge(other);
  EXPECT_EQ(next(other).next_due, facts_.now + kNumberRests);
  converge_later(other, std::chrono::seconds(119));
  EXPECT_EQ(number_of_grant("g"), number);
  converge_later(other, std::chrono::seconds(1));
  EXPECT_EQ(number_of_grant("g"), 0U);
  other.grants[0].name = "i";
  converge(other);
  EXPECT_EQ(number_of_grant("i"), number);
}

TEST_F(NumbersTest, AnAgentThatStartsCountsAnew) {
  converge(with_grant());
  DesiredState without = with_grant();
  without.grants.clear();
  const std::uint32_t number = number_of_grant("g");
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
  EXPECT_EQ(number_of_grant("g"), number);
  turn(std::chrono::seconds(1));
  EXPECT_EQ(number_of_grant("g"), 0U);
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
    for (const Step& step : lost.steps) record(step.operation, facts_.now, state);
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

// Nobody can tell who has lost one.
TEST_F(NumbersTest, WhereThePrefixesAreLostAllRealmsHaveOthers) {
  converge(with_grant());
  const std::uint32_t number = number_of(kBob);
  KernelState state = applier_.state();
  state.prefixes.clear();
  node_.in_force = in_force(state);
  for (const Step& step : plan(state, compile(with_grant(), node_, time_), facts_).steps)
    record(step.operation, facts_.now, state);
  EXPECT_NE(number_of(state, kBob), number);
  EXPECT_THAT(owners(state), Not(Contains(number)));
  EXPECT_THAT(owners(state), Contains(number_of(state, kBob)));
}

}  // namespace
}  // namespace grantd
