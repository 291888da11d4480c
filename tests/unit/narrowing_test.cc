// What is to narrow and cannot be written closes; what is to widen leaves what is in force.
#include "agent/plan/encode.h"
#include "agent/plan/width.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

struct Change {
  const char* what;
  std::vector<std::string> before, after;
  std::function<void(DesiredState&)> change = [](DesiredState&) {};  // of what is wanted then
  std::function<void(DesiredState&)> at_first = [](DesiredState&) {};
};

void PrintTo(const Change& change, std::ostream* out) { *out << change.what; }

class NarrowingTest : public PlanTest, public testing::WithParamInterface<Change> {
 protected:
  DesiredState before() {
    DesiredState desired = with_grant(GetParam().before);
    GetParam().at_first(desired);
    return desired;
  }
  DesiredState after() {
    DesiredState desired = with_grant(GetParam().after);
    GetParam().at_first(desired);
    GetParam().change(desired);
    return desired;
  }
  bool is_open() const { return !kernel_.state().published.empty(); }
  // The operations that the change takes before it is in force, each of which may fail.
  std::vector<std::string> operations() {
    std::vector<std::string> result;
    for (const Step& step : next(after()).steps) {
      const std::string name = operation_name(step.operation);
      if (!step.afterwards && name != "publish" && name != "put_bounds" && name != "put_endpoint" &&
          !name.starts_with("remove") && std::find(result.begin(), result.end(), name) == result.end())
        result.push_back(name);
    }
    return result;
  }
  void put_right() {
    kernel_.fail("");
    pass(std::chrono::seconds(1));
    ASSERT_TRUE(converge(after()).complete());
    EXPECT_TRUE(is_open());
    EXPECT_THAT(kernel_.violations(), IsEmpty());
  }
};

class Narrower : public NarrowingTest {};
class AsWide : public NarrowingTest {};

TEST_P(Narrower, ClosesWhicheverStepFails) {
  ASSERT_TRUE(converge(before()).complete());
  const auto all = operations();
  ASSERT_GE(all.size(), 2U);
  for (const std::string& operation : all) {
    pass(std::chrono::seconds(2));
    ASSERT_TRUE(converge(before()).complete());
    const BegunFlow bobs = begin(realm("bob"));
    ASSERT_TRUE(goes_on(bobs));
    ASSERT_TRUE(is_open());
    kernel_.fail(operation);
    const ApplyReport report = converge(after());
    EXPECT_FALSE(report.failed.empty()) << operation;
    EXPECT_FALSE(is_open()) << operation;
    EXPECT_THAT(report.closed, ElementsAre(1U)) << operation;
    put_right();
    EXPECT_FALSE(goes_on(bobs)) << "flows that began under the old one wait for their peers";
  }
}

const Change kNarrower[] = {
    {"an address less", {"198.51.100.0/24", "203.0.113.0/24"}, {"198.51.100.0/24"}},
    {"half of the addresses", {"198.51.100.0/24"}, {"198.51.100.0/25"}},
    {"a port less", {"198.51.100.0/24:443-444/TCP"}, {"198.51.100.0/24:443/TCP"}},
    {"a protocol less", {"198.51.100.0/24"}, {"198.51.100.0/24:1-65535/TCP"}},
    {"another address", {"198.51.100.0/24"}, {"203.0.113.0/24"}},
    {"a realm less", {"realm:carol"}, {}},
    {"a realm's port less", {"realm:carol"}, {"realm:carol:443/TCP"}},
    {"revoked", {}, {}, [](DesiredState& desired) { desired.grants[0].revoked = true; }},
    {"ends earlier",
     {},
     {},
     [](DesiredState& desired) { desired.grants[0].valid_until = desired::noon().now + std::chrono::hours(1); }},
    {"a limit", {}, {}, [](DesiredState& desired) { desired.grants[0].egress_bps = 1'000'000; }},
    {"a lower limit",
     {},
     {},
     [](DesiredState& desired) { desired.grants[0].ingress_bps = 1'000'000; },
     [](DesiredState& desired) { desired.grants[0].ingress_bps = 2'000'000; }},
    {"a realm that lost an address",
     {},
     {},
     [](DesiredState& desired) { desired.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"}); }},
    {"more and less", {"198.51.100.0/24"}, {"198.51.100.0/25", "203.0.113.0/24"}},
};
INSTANTIATE_TEST_SUITE_P(Each, Narrower, testing::ValuesIn(kNarrower));

TEST_P(AsWide, LeavesWhatIsInForce) {
  ASSERT_TRUE(converge(before()).complete());
  const auto in_force = published();
  const auto all = operations();
  ASSERT_GE(all.size(), 2U);
  for (const std::string& operation : all) {
    kernel_.fail(operation);
    const ApplyReport report = converge(after());
    EXPECT_FALSE(report.failed.empty()) << operation;
    EXPECT_EQ(published(), in_force) << operation;
    EXPECT_THAT(report.closed, IsEmpty()) << operation;
  }
  put_right();
  EXPECT_NE(published(), in_force);
}

const Change kAsWide[] = {
    {"an address more", {"198.51.100.0/24"}, {"198.51.100.0/24", "203.0.113.0/24"}},
    {"a wider prefix", {"198.51.100.0/25"}, {"198.51.100.0/24"}},
    {"everything", {"198.51.100.0/24:443/TCP", "203.0.113.0/24:80/TCP"}, {"0.0.0.0/0"}},
    {"all ports around", {"198.51.100.0/25:443/TCP"}, {"198.51.100.0/25:443/TCP", "198.51.0.0/16:80/TCP"}},
    {"more ports", {"198.51.100.0/24:443/TCP"}, {"198.51.100.0/24:440-450/TCP"}},
    {"another order", {"198.51.100.0/24:443/TCP", "203.0.113.0/24"}, {"203.0.113.0/24", "198.51.100.0/24:443/TCP"}},
    {"a realm more", {}, {"realm:carol"}},
    {"no limit any more",
     {},
     {},
     [](DesiredState& desired) { desired.grants[0].egress_bps.reset(); },
     [](DesiredState& desired) { desired.grants[0].egress_bps = 1'000'000; }},
    {"a higher limit",
     {},
     {},
     [](DesiredState& desired) { desired.grants[0].egress_bps = 2'000'000; },
     [](DesiredState& desired) { desired.grants[0].egress_bps = 1'000'000; }},
    {"ends later",
     {},
     {},
     [](DesiredState& desired) { desired.grants[0].valid_until.reset(); },
     [](DesiredState& desired) { desired.grants[0].valid_until = desired::noon().now + std::chrono::hours(1); }},
};
INSTANTIATE_TEST_SUITE_P(Each, AsWide, testing::ValuesIn(kAsWide));

class NarrowingOfTwo : public PlanTest {
 protected:
  DesiredState two(const std::vector<std::string>& of_g, const std::vector<std::string>& of_h) {
    DesiredState desired = with_grant(of_g);
    desired.grants.push_back(desired::grant("h", of_h));
    desired.workloads.push_back(desired::workload("db", "h", "veth-b", {"10.20.0.3"}));
    return desired;
  }
};

// Without a record of numbers nothing is written at all.
TEST_F(NarrowingOfTwo, ClosesAlsoWhereTheWholePlanIsLeftOut) {
  ASSERT_TRUE(converge(two({"198.51.100.0/24"}, {"198.51.100.0/24"})).complete());
  kernel_.fail("put_node");
  const ApplyReport report = converge(two({}, {"198.51.100.0/24", "203.0.113.0/24"}));
  EXPECT_THAT(report.closed, ElementsAre(1U));
  EXPECT_THAT(kernel_.state().published, ElementsAre(testing::Key(2U)));
  DesiredState gone = two({}, {"198.51.100.0/24"});
  gone.grants.pop_back();
  EXPECT_THAT(converge(gone).closed, ElementsAre(2U)) << "a Grant that is gone";
  EXPECT_THAT(kernel_.state().published, IsEmpty());
  kernel_.fail("");
  ASSERT_TRUE(converge(two({}, {"198.51.100.0/24"})).complete());
  EXPECT_EQ(kernel_.state().published.size(), 2U);
  EXPECT_THAT(kernel_.violations(), IsEmpty());
}

TEST_F(NarrowingOfTwo, WhatCannotBeClosedEitherIsSaidAndTriedAgain) {
  ASSERT_TRUE(converge(two({"198.51.100.0/24"}, {})).complete());
  kernel_.fail("publish");
  const ApplyReport report = converge(two({}, {}));
  EXPECT_EQ(report.failed.size(), 2U);
  EXPECT_THAT(report.closed, IsEmpty());
  EXPECT_EQ(applier_.errors_by_operation().at("publish"), 2U);
  EXPECT_EQ(kernel_.state().published.size(), 2U) << "and the state says so";
  kernel_.fail("");
  ASSERT_TRUE(converge(two({}, {})).complete());
  EXPECT_THAT(names(next(two({}, {}))), IsEmpty());
}

// Nobody can write its policy again: it has to be accepted first.
TEST_F(NarrowingOfTwo, ARefusedGrantThatIsKeptClosesWhereItsFlowsCannotBePutInDoubt) {
  ASSERT_TRUE(converge(two({"198.51.100.0/24"}, {})).complete());
  DesiredState fewer = two({"realm:dave"}, {});
  fewer.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  kernel_.fail("put_policy");
  EXPECT_THAT(converge(fewer).closed, testing::UnorderedElementsAre(1U, 2U));
  kernel_.fail("");
  ASSERT_TRUE(converge(fewer).complete());
  EXPECT_THAT(kernel_.state().published, ElementsAre(testing::Key(2U)));
  fewer.grants[0] = desired::grant("g", {"198.51.100.0/24"});
  ASSERT_TRUE(converge(fewer).complete());
  EXPECT_EQ(kernel_.state().published.size(), 2U);
}

// What g cannot do is no affair of h's, which nobody changed.
TEST_F(NarrowingOfTwo, AGrantThatCannotBeWrittenClosesNoOther) {
  DesiredState before = two({"198.51.100.0/24"}, {"198.51.100.0/24"});
  before.grants[1].grantee_realm = "carol";
  ASSERT_TRUE(converge(before).complete());
  const std::uint64_t of_h = kernel_.state().published.at(2);
  DesiredState after = two({"198.51.100.0/24", "203.0.113.0/24"}, {"198.51.100.0/24"});
  after.grants[1].grantee_realm = "carol";
  after.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  kernel_.fail("put_rules");
  EXPECT_THAT(converge(after).closed, ElementsAre(1U));
  for (int again = 0; again < 3; again++) {
    pass(std::chrono::seconds(1));
    EXPECT_THAT(converge(after).closed, IsEmpty());
    EXPECT_EQ(kernel_.state().published, (std::map<std::uint32_t, std::uint64_t>{{2, of_h}}))
        << "nor are its flows in doubt";
  }
  kernel_.fail("");
  ASSERT_TRUE(converge(after).complete());
  EXPECT_EQ(kernel_.state().published.size(), 2U);
  EXPECT_THAT(kernel_.violations(), IsEmpty());
}

// Of what is written anew in a loss, the rules that open 203.0.113.0/24.
bool opens_more(const Operation& operation) {
  const auto* put = std::get_if<operation::PutRules>(&operation);
  return put && std::any_of(put->rules.begin(), put->rules.end(), [](const auto& each) {
           return decode_rule_prefix(each.first) == desired::prefix("203.0.113.0/24");
         });
}

TEST_F(NarrowingOfTwo, OfTwoThatLoseTheOneThatCanBeWrittenGoesOn) {
  ASSERT_TRUE(converge(two({"198.51.100.0/24"}, {"198.51.100.0/24"})).complete());
  const BegunFlow bobs = begin_flow(applier_.state(), realm("bob"), 2);
  ASSERT_TRUE(goes_on(bobs));
  DesiredState after = two({"198.51.100.0/24", "203.0.113.0/24"}, {"198.51.100.0/24"});
  after.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  kernel_.fail_where(opens_more);
  EXPECT_THAT(converge(after).closed, ElementsAre(1U));
  EXPECT_TRUE(applier_.state().published.contains(2));
  EXPECT_FALSE(goes_on(bobs));
}

// A new Grant is not in force, and its failure is felt by nobody.
TEST_F(NarrowingOfTwo, ANewGrantThatCannotBeWrittenClosesNobody) {
  ASSERT_TRUE(converge(with_grant()).complete());
  DesiredState after = two({"198.51.100.0/24:443/TCP"}, {"203.0.113.0/24"});
  after.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  for (const std::string operation : {"put_rules", "put_slot_name", "put_identity_name"})
    for (int again = 0; again < 3; again++) {
      kernel_.fail_where([&](const Operation& each) {
        const auto* name = std::get_if<operation::PutIdentityName>(&each);
        return operation == operation_name(each) && (!name || name->name.kind == IdentityName::Kind::Grant) &&
               (!std::holds_alternative<operation::PutRules>(each) || opens_more(each));
      });
      pass(std::chrono::seconds(1));
      EXPECT_THAT(converge(after).closed, IsEmpty()) << operation;
      EXPECT_TRUE(kernel_.state().published.contains(1)) << operation;
    }
}

// Believed under a new epoch, a lost address would be the realm's for good.
TEST_F(NarrowingOfTwo, WhereAnAddressCannotBeTakenFromItsRealmItsGrantsClose) {
  DesiredState before = two({"198.51.100.0/24"}, {"198.51.100.0/24"});
  before.grants[1].grantee_realm = "carol";
  ASSERT_TRUE(converge(before).complete());
  DesiredState after = before;
  after.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  kernel_.fail("put_prefixes");
  EXPECT_THAT(converge(after).closed, ElementsAre(1U));
  pass(std::chrono::seconds(1));
  converge(after);
  EXPECT_THAT(kernel_.state().published, ElementsAre(testing::Key(2U))) << "nor does it open again before";
  kernel_.fail("");
  ASSERT_TRUE(converge(after).complete());
  EXPECT_EQ(kernel_.state().published.size(), 2U);
}

// That an address was lost is to be seen until no Grant is left that knows its old owner.
TEST_F(NarrowingOfTwo, ALossStaysToBeSeenWhileAGrantCanNeitherBePublishedNorClosed) {
  ASSERT_TRUE(converge(two({"198.51.100.0/24"}, {"198.51.100.0/24"})).complete());
  const BegunFlow bobs[] = {begin(realm("bob")), begin_flow(applier_.state(), realm("bob"), 2)};
  const std::uint64_t before = published();
  DesiredState after = two({"198.51.100.0/24"}, {"198.51.100.0/24"});
  after.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  kernel_.fail("publish");
  EXPECT_THAT(converge(after).closed, IsEmpty());
  EXPECT_EQ(published(), before);
  kernel_.fail("");
  ASSERT_TRUE(converge(after).complete());
  EXPECT_NE(published(), before);
  for (const BegunFlow& flow : bobs) EXPECT_FALSE(goes_on(flow)) << flow.slot;
  EXPECT_THAT(names(next(after)), IsEmpty());
}

TEST_F(NarrowingOfTwo, ClosesWhereNobodyCanTellWhatIsOpen) {
  ASSERT_TRUE(converge(two({"198.51.100.0/24"}, {})).complete());
  class Unreadable : public model::ModelKernel {
   public:
    Result<operation::PutRules> read_rules(std::uint32_t, const RuleSet&) override { return Error{"made to fail", 5}; }
  } unreadable;
  Applier applier(unreadable);
  applier.apply(plan(applier.state(), compile(two({"198.51.100.0/24"}, {}), node_, time_), facts_), facts_.now);
  ASSERT_EQ(applier.state().published.size(), 2U);
  unreadable.fail("put_policy");
  const auto wider = compile(two({"198.51.100.0/24", "203.0.113.0/24"}, {}), node_, time_);
  EXPECT_THAT(applier.apply(plan(applier.state(), wider, facts_), facts_.now).closed, ElementsAre(1U));
}

// A guest of a policy that has ended, or is not yet valid, loses nothing.
TEST_F(NarrowingOfTwo, WhatHasEndedIsNotWide) {
  grantd_policy current{}, wanted{};
  current.not_after_ns = 100;
  wanted.not_after_ns = 50;
  EXPECT_FALSE(opens_as_much(wanted, current, 99));
  EXPECT_TRUE(opens_as_much(wanted, current, 100));
  current.not_after_ns = wanted.not_after_ns = GRANTD_TIME_NEVER;
  current.not_before_ns = 10;
  wanted.not_before_ns = 20;
  EXPECT_FALSE(opens_as_much(wanted, current, 15));
  EXPECT_TRUE(opens_as_much(wanted, current, 20));
}

}  // namespace
}  // namespace grantd
