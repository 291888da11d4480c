// A Realm of which nothing can stand any more, since its file is wrong and its last good version is not good for this
// node as it is now. What that held is nobody's, not the wider Realm's around it.
#include "agent/compile/compile.h"
#include "tests/unit/admission_fixture.h"
#include "tests/unit/desired_samples.h"

namespace grantd {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::Pair;

class FallenRealmsTest : public AdmissionTest {
 protected:
  // b is in force as it was last good; then the node's ranges are others. Each load is as one after a restart.
  void fall(const std::string& spoiled) {
    protected_ranges_.clear();
    last_good_.clear();
    files_ = {{"a.yaml", kAlice}, {"b.yaml", kInner}};
    load();
    files_["b.yaml"] = spoiled;
    load();
    EXPECT_THAT(standing(), Contains(Pair("b", "192.0.2.64/28"))) << spoiled;
    protected_ranges_ = kRanges;
    load();
    EXPECT_THAT(standing(), Not(Contains(Pair("b", testing::_)))) << spoiled;
  }

  // Whose an address is as a destination; "" for nobody's.
  std::string owner(const std::string& text) const {
    std::string name;
    for (const CompiledPrefix& each : compile(desired_, desired::node(), desired::noon()).prefixes)  // the widest first
      if (each.uplink_class == GRANTD_UPLINK_DESTINATION && each.prefix.contains(desired::address(text)))
        name = each.identity.name;
    return name;
  }

  const std::vector<IpPrefix> kRanges = {desired::prefix("10.42.0.0/16")};
  const std::string kInner = realm_text("b", "192.0.2.64/28, 10.42.1.0/24");
  const std::string kUnparsed = kInner + "'", kRefused = realm_text("b", "203.0.113.0/24], upklinks: [lan");
};

TEST_F(FallenRealmsTest, WhatItHeldIsNobodysAsLongAsItIsRefused) {
  for (const std::string& spoiled : {kUnparsed, kRefused}) {
    fall(spoiled);
    for (int turns = 0; turns < 3; ++turns, load()) {
      EXPECT_EQ(owner("192.0.2.70"), "") << spoiled << turns;
      EXPECT_EQ(owner("192.0.2.80"), "alice") << "the control";
      EXPECT_THAT(errors(), Contains(HasSubstr("overlaps the protected range 10.42.0.0/16"))) << spoiled << turns;
      EXPECT_THAT(warnings(), Contains(HasSubstr("Realm b: spec.addresses: \"192.0.2.64/28\": is nobody's while this "
                                                 "Realm is refused, and lies inside 192.0.2.0/24 of Realm alice")))
          << spoiled << turns;
    }
    files_["b.yaml"] = realm_text("b", "192.0.2.96/28");
    load();
    EXPECT_EQ(owner("192.0.2.100"), "b") << "it is mended";
    EXPECT_EQ(owner("192.0.2.70"), "alice");
    fall(spoiled);
    files_.erase("b.yaml");
    load();
    EXPECT_EQ(owner("192.0.2.70"), "alice") << "it is gone";
    EXPECT_THAT(errors(), IsEmpty());
  }
}

TEST_F(FallenRealmsTest, ItIsInForceAgainWhereTheRangesAreAsTheyWere) {
  fall(kUnparsed);
  protected_ranges_.clear();
  load();
  EXPECT_EQ(owner("192.0.2.70"), "b");
}

// What stands by its own manifest is not drawn down by a version that has come back.
TEST_F(FallenRealmsTest, WhoTookItsPrefixMeanwhileKeepsIt) {
  fall(kUnparsed);
  files_["c.yaml"] = realm_text("c", "192.0.2.64/28");
  load();
  EXPECT_EQ(owner("192.0.2.70"), "c");
  protected_ranges_.clear();
  for (int turns = 0; turns < 3; ++turns) {
    load();
    EXPECT_EQ(owner("192.0.2.70"), "c") << turns;
    EXPECT_THAT(errors(), Contains(HasSubstr("is also Realm c's"))) << turns;
  }
  files_.erase("c.yaml");
  load();
  EXPECT_EQ(owner("192.0.2.70"), "b") << "the control: it has only given way";
}

TEST_F(FallenRealmsTest, WhereAnotherOneHasItsNameItIsForgotten) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", with_uid(kInner, "one")}};
  load();
  protected_ranges_ = kRanges;
  files_["b.yaml"] = with_uid(kRefused, "two");
  load();
  EXPECT_EQ(owner("192.0.2.70"), "alice") << "the first one was deleted";
}

// As a stricter version of grantd would find it.
TEST_F(FallenRealmsTest, AlsoWhereWhatWasKeptIsNotGoodAnyMore) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", kInner}};
  load();
  const ObjectId id{ResourceKind::Realm, "b"};
  last_good_.at(id).text = realm_text("b", "192.0.2.64/28], upklinks: [lan");
  files_["b.yaml"] = kUnparsed;
  for (int turns = 0; turns < 3; ++turns) {
    load();
    EXPECT_THAT(warnings(), Contains(HasSubstr("the version kept of it cannot be read"))) << turns;
    EXPECT_EQ(owner("192.0.2.70"), "") << turns;
  }
}

}  // namespace
}  // namespace grantd
