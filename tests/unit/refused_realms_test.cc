// The addresses of a Realm that is refused, and that has no good version, are not the wider Realm's around it.
#include "agent/apply/applier.h"
#include "agent/compile/compile.h"
#include "agent/plan/in_force.h"
#include "tests/unit/admission_fixture.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/model_kernel.h"
#include "tests/unit/plan_watchers.h"

#include <algorithm>
#include <string>
#include <vector>

namespace grantd {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class RefusedRealmsTest : public AdmissionTest {
 protected:
  std::vector<std::string> nobodys() const {
    std::vector<std::string> all;
    for (const RefusedPrefix& each : desired_.nobodys) all.push_back(each.prefix.text());
    return all;
  }

  // Whose an address is, as a destination and on the uplink; "" for nobody's.
  std::string owner(const std::string& text) const {
    const std::string as_destination = owner_on(GRANTD_UPLINK_DESTINATION, text);
    EXPECT_EQ(owner_on(GRANTD_UPLINK_LAN, text), as_destination) << text;
    return as_destination;
  }

  std::string limit_error(std::size_t prefixes) const {
    Limits limits;
    limits.prefixes = prefixes;
    const CompiledPolicy policy = compile(desired_, desired::node(), desired::noon(), limits);
    return policy.prefixes_refused ? policy.problems.back().text() : "";
  }

  static std::string with_mistake(const std::string& name, const std::string& addresses) {
    return realm_text(name, addresses + "], upklinks: [lan");
  }

 private:
  std::string owner_on(std::uint8_t uplink_class, const std::string& text) const {
    const CompiledPolicy policy = compile(desired_, desired::node(), desired::noon());
    const CompiledPrefix* longest = nullptr;
    for (const CompiledPrefix& each : policy.prefixes)
      if (each.uplink_class == uplink_class && each.prefix.contains(desired::address(text)) &&
          (longest == nullptr || each.prefix.length > longest->prefix.length))
        longest = &each;
    return longest == nullptr ? "" : longest->identity.name;
  }
};

TEST_F(RefusedRealmsTest, ItsAddressesAreNobodys) {
  load(kAlice);
  ASSERT_EQ(owner("192.0.2.70"), "alice") << "the control";
  load(kAlice + with_mistake("bob-home", "192.0.2.64/28, 203.0.113.0/24"));
  EXPECT_THAT(errors(), Contains(HasSubstr("upklinks")));
  EXPECT_EQ(owner("192.0.2.70"), "");
  EXPECT_EQ(owner("192.0.2.80"), "alice") << "what it does not name";
  EXPECT_EQ(owner("203.0.113.1"), "");
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.64/28")) << "no more than is needed";
  EXPECT_THAT(warnings(),
              Contains(HasSubstr("Realm bob-home: spec.addresses: \"192.0.2.64/28\": is nobody's while this "
                                 "Realm is refused, and lies inside 192.0.2.0/24 of Realm alice, a.yaml:5")));
  load();
  EXPECT_EQ(owner("192.0.2.70"), "") << "as long as it is refused, over restarts";
  load(kAlice + realm_text("bob-home", "192.0.2.64/28"));
  EXPECT_EQ(owner("192.0.2.70"), "bob-home");
  load(kAlice);
  EXPECT_EQ(owner("192.0.2.70"), "alice") << "it is gone";
}

TEST_F(RefusedRealmsTest, WhateverIsWrongWithIt) {
  const std::string wrong[] = {
      "---\napiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {}\nspec: {addresses: [192.0.2.64/28]}\n",
      "---\napiVersion: keystone.io/v1\nkind: Realm\nmetadata: {name: b}\nspec: {identity: b, addresses: "
      "[192.0.2.64/28]}\n",
      realm_text("b", "192.0.2.64/28], addresses: [203.0.113.0/24"),
      realm_text("b", "192.0.2.64/28, nowhere"),
      realm_text("b", "192.0.2.64/28], uplinks: [wan"),
      realm_text("b", "192.0.2.64/28", "id-of-alice"),
      realm_text("b", "192.0.2.64/28, 10.42.0.0/16"),
      realm_text("b", "192.0.2.64/28, 0.0.0.0/0"),
      realm_text("b", "192.0.2.64/28") + realm_text("b", "192.0.2.64/28"),
      with_mistake("b", "192.0.2.64/28") + realm_text("b", "203.0.113.0/24"),
      "---\napiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {name: b}\nspec: {identity: b, addresses: "
      "192.0.2.64/28}\n"};
  protected_ranges_ = {desired::prefix("10.42.0.0/16")};
  for (const std::string& text : wrong) {
    last_good_.clear();
    load(kAlice);
    load(kAlice + text);
    EXPECT_THAT(errors(), Not(IsEmpty())) << text;
    EXPECT_EQ(owner("192.0.2.70"), "") << text;
    EXPECT_EQ(owner("192.0.2.80"), "alice") << text;
  }
}

TEST_F(RefusedRealmsTest, OfTwoThatBothAreRefusedTheirPrefixIsNobodys) {
  load(kAlice + realm_text("b", "192.0.2.64/28") + realm_text("c", "192.0.2.64/28, 198.51.100.0/24"));
  EXPECT_THAT(standing(), ElementsAre(testing::Pair("alice", "192.0.2.0/24")));
  EXPECT_EQ(owner("192.0.2.70"), "");
}

TEST_F(RefusedRealmsTest, WhatAGoodRealmHasItselfStaysItsOwn) {
  const std::string b = realm_text("b", "192.0.2.64/28");
  load(kAlice + b);
  load(kAlice + b + with_mistake("c", "192.0.2.64/28, 192.0.2.0/24, 192.0.2.68/32"));
  EXPECT_EQ(owner("192.0.2.1"), "alice") << "the very same prefix";
  EXPECT_EQ(owner("192.0.2.70"), "b");
  EXPECT_EQ(owner("192.0.2.68"), "") << "what truly lies inside of it";
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.68/32"));
  load(kAlice + b + with_mistake("c", "192.0.2.0/23"));
  EXPECT_EQ(owner("192.0.2.70"), "b") << "the longest prefix wins";
  EXPECT_EQ(owner("192.0.2.1"), "alice");
}

TEST_F(RefusedRealmsTest, WhatItsLastGoodVersionHoldsStaysItsOwn) {
  load(kAlice + realm_text("b", "192.0.2.64/27"));
  load(kAlice + with_mistake("b", "192.0.2.64/28, 192.0.2.128/28"));
  EXPECT_EQ(owner("192.0.2.70"), "b") << "inside of its own";
  EXPECT_EQ(owner("192.0.2.90"), "b");
  EXPECT_EQ(owner("192.0.2.130"), "") << "what the new one would take";
  EXPECT_EQ(owner("192.0.2.150"), "alice");
}

TEST_F(RefusedRealmsTest, HostBitsMeanTheAddressOrThePrefixAroundIt) {
  load(kAlice + realm_text("b", "192.0.2.70/28"));
  EXPECT_THAT(errors(), Contains(HasSubstr("has host bits")));
  EXPECT_EQ(owner("192.0.2.64"), "");
  EXPECT_EQ(owner("192.0.2.80"), "alice");
  load(kAlice + realm_text("b", "192.0.2.70/24"));
  EXPECT_EQ(owner("192.0.2.70"), "");
  EXPECT_EQ(owner("192.0.2.71"), "alice") << "the prefix itself is hers";
  EXPECT_EQ(owner("192.0.2.80"), "alice");
}

// As where the --- between two objects is lost.
TEST_F(RefusedRealmsTest, OfTwoObjectsThatHaveRunIntoEachOther) {
  const auto body = [](std::string text) { return text.substr(text.find('\n') + 1); };
  load(kAlice);
  load(kAlice + body(realm_text("b", "192.0.2.64/28")));
  EXPECT_THAT(errors(), Contains(HasSubstr("is there twice")));
  EXPECT_EQ(owner("192.0.2.70"), "");
  EXPECT_EQ(owner("192.0.2.80"), "alice");
  load(kAlice + grant_text("g", "alice") + body(realm_text("b", "192.0.2.64/28")));
  EXPECT_THAT(errors(), Contains(HasSubstr("is there twice")));
  EXPECT_EQ(owner("192.0.2.70"), "") << "whatever the first one is";
}

TEST_F(RefusedRealmsTest, WhatLiesInAnothersHoleNeedsNone) {
  const std::string inner = realm_text("c", "192.0.2.64/29");
  load(kAlice + with_mistake("b", "192.0.2.64/28, 192.0.2.64/30, 192.0.2.72/30"));
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.64/28"));
  EXPECT_EQ(owner("192.0.2.65"), "");
  load(kAlice + inner + with_mistake("b", "192.0.2.64/28, 192.0.2.64/30, 192.0.2.72/30"));
  EXPECT_EQ(owner("192.0.2.69"), "c");
  EXPECT_EQ(owner("192.0.2.65"), "") << "between them stands another one";
  EXPECT_EQ(owner("192.0.2.73"), "");
}

TEST_F(RefusedRealmsTest, WhatCannotBeReadIsSaid) {
  const auto said = HasSubstr("Realm b: spec.addresses: has something that cannot be read as an address");
  for (const char* address : {"nowhere", "192.0.2.064/28", "[192.0.2.64/28]", "192.0.2.70/x", "{a: b}"}) {
    load(kAlice + realm_text("b", std::string(address) + ", 192.0.2.96/28"));
    EXPECT_THAT(warnings(), Contains(said)) << address;
    EXPECT_EQ(owner("192.0.2.97"), "") << "what can be read beside it";
    EXPECT_EQ(owner("192.0.2.80"), "alice");
  }
  load(kAlice + realm_text("b", "192.0.2.70/x"));
  EXPECT_EQ(owner("192.0.2.70"), "") << "that one at least is meant";
  load(kAlice + realm_text("b", "192.0.2.70/28"));
  EXPECT_THAT(warnings(), Not(Contains(said))) << "the control";
}

TEST_F(RefusedRealmsTest, TheyTakeAsFewEntriesAsThereCanBe) {
  const std::string quarters = "192.0.2.64/29, 192.0.2.72/30, 192.0.2.76/31, 192.0.2.78/32, 192.0.2.79/32";
  load(kAlice + with_mistake("b", quarters));
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.64/28"));
  EXPECT_EQ(owner("192.0.2.64"), "");
  EXPECT_EQ(owner("192.0.2.79"), "");
  EXPECT_EQ(owner("192.0.2.63"), "alice") << "no more than what it names";
  EXPECT_EQ(owner("192.0.2.80"), "alice");
  load(kAlice + with_mistake("b", "192.0.2.64/29") + with_mistake("c", "192.0.2.72/29"));
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.64/28")) << "of two";
  load(kAlice + with_mistake("b", "192.0.2.0/25, 192.0.2.128/25"));
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.0/25", "192.0.2.128/25")) << "not alice's own";
  EXPECT_EQ(owner("192.0.2.1"), "");
  load(kAlice + realm_text("inner", "192.0.2.64/28") + with_mistake("b", "192.0.2.64/29, 192.0.2.72/29"));
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.64/29", "192.0.2.72/29")) << "nor another's between";
  EXPECT_EQ(owner("192.0.2.65"), "");
  EXPECT_EQ(owner("192.0.2.73"), "");
  load(kAlice + realm_text("inner", "192.0.2.64/30") +
       with_mistake("b", "192.0.2.64/28, 192.0.2.64/31, 192.0.2.72/30"));
  EXPECT_THAT(nobodys(), ElementsAre("192.0.2.64/28", "192.0.2.64/31")) << "one hole is around the other two";
  EXPECT_EQ(owner("192.0.2.66"), "inner");
  load(realm_text("alice", "\"2001:db8::/32\"") + with_mistake("b", "\"2001:db8:b::/49\", \"2001:db8:b:8000::/49\""));
  EXPECT_THAT(nobodys(), ElementsAre("2001:db8:b::/48"));
}

TEST_F(RefusedRealmsTest, TheRealmThatTakesTheMostIsTheOneThatIsNamed) {
  const std::string most = realm_text("bob-home", "198.51.100.0/24, 198.51.101.0/24");
  const std::string apart = with_mistake("c", "192.0.2.64/32, 192.0.2.66/32, 192.0.2.68/32");
  load(kAlice + most);
  EXPECT_EQ(limit_error(6), "") << "the control";
  EXPECT_THAT(limit_error(5), AllOf(StartsWith("a.yaml:"), HasSubstr("Realm bob-home: spec.addresses: \"4\": entries"),
                                    HasSubstr("of 6 for prefixes"), HasSubstr("at most 5 in all"),
                                    HasSubstr("--max-realm-prefixes"), Not(HasSubstr("refused"))));
  load(kAlice + most + apart);
  EXPECT_EQ(limit_error(12), "") << "each of c's takes one as a destination and one on the uplink";
  EXPECT_THAT(limit_error(11), AllOf(StartsWith("a.yaml:"), HasSubstr("Realm c: spec.addresses: \"6\": entries"),
                                     HasSubstr("6 of them set its addresses apart while it is refused")));
  // What is in force of it counts with what is set apart: it is one object.
  load(kAlice + most + realm_text("c", "192.0.2.64/32"));
  load(kAlice + most + apart);
  EXPECT_THAT(limit_error(11), AllOf(HasSubstr("Realm c: spec.addresses: \"6\""), HasSubstr("4 of them set")));
  // Many prefixes that are nowhere inside of another Realm's take nothing.
  load(kAlice + most + with_mistake("c", "203.0.113.0/32, 203.0.113.2/32, 203.0.113.4/32, 203.0.113.6/32"));
  EXPECT_THAT(limit_error(5), HasSubstr("Realm bob-home: spec.addresses: \"4\""));
}

TEST_F(RefusedRealmsTest, OfAFileThatDoesNotParseNothingIsKnown) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", realm_text("b", "192.0.2.64/28") + "'"}};
  load();
  EXPECT_EQ(owner("192.0.2.70"), "alice");
}

// One hole for another, narrower one: where that cannot be written, the wider one stays.
TEST_F(RefusedRealmsTest, NoHoleIsTakenAwayBeforeWhatStandsInForItIsThere) {
  const PrefixKey wider{GRANTD_UPLINK_LAN, desired::prefix("192.0.2.64/28")};
  const PrefixKey narrower{GRANTD_UPLINK_LAN, desired::prefix("192.0.2.70/32")};
  for (const bool refused : {true, false}) {
    const auto with_b = [&](const std::string& addresses) {
      load(kAlice + (refused ? with_mistake("b", addresses) : realm_text("b", addresses)));
    };
    last_good_.clear();
    model::ModelKernel kernel;
    Applier applier(kernel);
    const auto converge = [&] {
      NodeFacts here = desired::node();
      here.in_force = in_force(applier.state());
      PlanFacts facts;
      facts.interfaces = {2};
      kernel.now = facts.now = desired::noon().boot_now;
      return applier.apply(plan(applier.state(), compile(desired_, here, desired::noon()), facts), facts.now);
    };
    const auto owner_in_force = [&] {
      return model::owner_at(kernel.state(), GRANTD_UPLINK_LAN, desired::address("192.0.2.70"));
    };
    with_b("192.0.2.64/28");
    EXPECT_TRUE(converge().complete());
    EXPECT_EQ(owner_in_force(), refused ? "" : "b");
    with_b("192.0.2.70/32");
    kernel.fail_where([&](const Operation& each) {
      const auto* put = std::get_if<operation::PutPrefixes>(&each);
      return put && std::ranges::any_of(put->prefixes, [&](const auto& one) { return one.first == narrower; });
    });
    EXPECT_FALSE(converge().complete());
    EXPECT_NE(owner_in_force(), "alice") << refused;
    kernel.fail_where({});
    EXPECT_TRUE(converge().complete());
    EXPECT_EQ(owner_in_force(), refused ? "" : "b");
    EXPECT_FALSE(kernel.state().prefixes.contains(wider)) << "the control: it is gone in the end";
  }
}

TEST_F(RefusedRealmsTest, IPv6Too) {
  load(realm_text("alice", "\"2001:db8::/32\"") + with_mistake("b", "\"2001:db8:b::/48\""));
  EXPECT_EQ(owner("2001:db8:b::1"), "");
  EXPECT_EQ(owner("2001:db8:c::1"), "alice");
}

}  // namespace
}  // namespace grantd
