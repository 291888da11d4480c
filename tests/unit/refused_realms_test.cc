// The addresses of a Realm that is refused, and that has no good version, are not the wider Realm's around it.
#include "agent/compile/compile.h"
#include "tests/unit/admission_fixture.h"
#include "tests/unit/desired_samples.h"

#include <string>
#include <vector>

namespace grantd {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class RefusedRealmsTest : public AdmissionTest {
 protected:
  std::vector<std::string> nobodys() const {
    std::vector<std::string> all;
    for (const IpPrefix& each : desired_.nobodys) all.push_back(each.text());
    return all;
  }

  // Whose an address is, as a destination and on the uplink; "" for nobody's.
  std::string owner(const std::string& text) const {
    const std::string as_destination = owner_on(GRANTD_UPLINK_DESTINATION, text);
    EXPECT_EQ(owner_on(GRANTD_UPLINK_LAN, text), as_destination) << text;
    return as_destination;
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

TEST_F(RefusedRealmsTest, OfAFileThatDoesNotParseNothingIsKnown) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", realm_text("b", "192.0.2.64/28") + "'"}};
  load();
  EXPECT_EQ(owner("192.0.2.70"), "alice");
}

TEST_F(RefusedRealmsTest, IPv6Too) {
  load(realm_text("alice", "\"2001:db8::/32\"") + with_mistake("b", "\"2001:db8:b::/48\""));
  EXPECT_EQ(owner("2001:db8:b::1"), "");
  EXPECT_EQ(owner("2001:db8:c::1"), "alice");
}

}  // namespace
}  // namespace grantd
