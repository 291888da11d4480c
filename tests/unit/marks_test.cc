// What collides with the stamp, and what to do about it.
#include "agent/marks/collisions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

using testing::HasSubstr;
using testing::Not;

const StampSettings kStamp = stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value();

StampHarm harm(MarkAction action, std::uint32_t mask, std::uint32_t value = 0) {
  return stamp_harm(kStamp, {"x", action, mask, value});
}

std::vector<Problem> collisions(std::set<MarkUse> uses) {
  MarkFacts facts;
  facts.uses = std::move(uses);
  return stamp_collisions(kStamp, facts);
}

TEST(StampHarm, WhatIsClearOfTheStampDoesNone) {
  for (const auto action :
       {MarkAction::Set, MarkAction::Overwrite, MarkAction::Match, MarkAction::Test, MarkAction::Save})
    for (const std::uint32_t mask : {0xff0000U, 0xc000U, 0x30000U, 0x2000U, 0xffe000U})
      EXPECT_EQ(harm(action, mask, mask), StampHarm::None);
}

TEST(StampHarm, OneWhoSetsTheTagMakesTheSenderNobody) {
  EXPECT_EQ(harm(MarkAction::Set, 0xffffffff, 0x1), StampHarm::Loses);
  EXPECT_EQ(harm(MarkAction::Set, 0xff000000, 0x10000000), StampHarm::Loses);
  EXPECT_EQ(harm(MarkAction::Set, 0xffffffff, 0), StampHarm::Loses);
}

TEST(StampHarm, OneWhoLeavesTheTagMakesTheSenderAnother) {
  EXPECT_EQ(harm(MarkAction::Set, 0x1, 0x1), StampHarm::Alters);
  EXPECT_EQ(harm(MarkAction::Set, 0x1, 0), StampHarm::Alters);
  EXPECT_EQ(harm(MarkAction::Set, 0xffffffff, 0x67000005), StampHarm::Alters) << "a stamp, made by somebody else";
  EXPECT_EQ(harm(MarkAction::Set, 0xff000000, 0x67000000), StampHarm::None) << "what is there already";
}

TEST(StampHarm, MatchesAreToldApart) {
  EXPECT_EQ(harm(MarkAction::Match, 0xff, 0x1), StampHarm::Mistakes) << "the identity 0x101";
  EXPECT_EQ(harm(MarkAction::Match, 0x1fff, 0x1), StampHarm::Expects) << "1 is in no stamp";
  EXPECT_EQ(harm(MarkAction::Match, 0xffffffff, 0xca6c), StampHarm::Expects);
  EXPECT_EQ(harm(MarkAction::Match, 0xffffffff, 0x4000), StampHarm::Hides);
  EXPECT_EQ(harm(MarkAction::Match, 0xffffffff, 0), StampHarm::Hides);
  EXPECT_EQ(harm(MarkAction::Match, 0xffffffff, 0x67000002), StampHarm::Mistakes);
  EXPECT_EQ(harm(MarkAction::Match, 0xff000000, 0x67000000), StampHarm::Mistakes);
  EXPECT_EQ(harm(MarkAction::Test, 0x1), StampHarm::Mistakes);
}

TEST(StampHarm, OfConnectionsMarks) {
  EXPECT_EQ(harm(MarkAction::Overwrite, 0xffffffff), StampHarm::Overwrites);
  EXPECT_EQ(harm(MarkAction::Save, 0xffffffff), StampHarm::Saves);
}

// The words for it hold for every stamp that there may be.
RC_GTEST_PROP(StampHarm, HoldsForEveryStamp, (std::uint32_t value, std::uint32_t mask)) {
  value &= mask;
  const auto identity = *rc::gen::inRange<std::uint32_t>(GRANTD_IDENTITY_FIRST, 8192);
  const std::uint32_t before = stamp_of(kStamp, identity) | (*rc::gen::arbitrary<std::uint32_t>() & ~kStamp.mask);
  const std::uint32_t after = identity_of_stamp(kStamp, (before & ~mask) | value);
  const StampHarm set = harm(MarkAction::Set, mask, value);
  if (set == StampHarm::None) RC_ASSERT(after == identity);
  if (set == StampHarm::Loses) RC_ASSERT(after == static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY));
  const StampHarm match = harm(MarkAction::Match, mask, value);
  if ((before & mask) == value && match != StampHarm::None) RC_ASSERT(match == StampHarm::Mistakes);
}

TEST(StampCollisions, SayWhoWhichBitsAndWhatToDo) {
  const auto problems = collisions({{"policy routing rule 100 (IPv4)", MarkAction::Match, 0xff, 0x1}});
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].text(),
            "warning: stamp mask 0xff001fff: policy routing rule 100 (IPv4): \"matches 0x00000001/0x000000ff\": takes "
            "some stamps for its mark; bits in common: 0x000000ff; accepted: --stamp-mask 0xff1fff00, or a rule with a "
            "mask that is clear of 0xff001fff");
}

TEST(StampCollisions, AnIdentityThatChangesIsAnError) {
  const auto problems = collisions({{"iptables mangle X", MarkAction::Set, 0x1, 0x1}});
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].severity, Severity::Error);
  EXPECT_EQ(collisions({{"x", MarkAction::Set, 0xffffffff, 0x1}})[0].severity, Severity::Warning);
}

TEST(StampCollisions, RulesThatDoTheSameAreOne) {
  const auto problems = collisions({{"a", MarkAction::Match, 0xff, 0x1},
                                    {"b", MarkAction::Match, 0xff, 0x1},
                                    {"c", MarkAction::Match, 0xff, 0x1},
                                    {"c", MarkAction::Match, 0xff, 0x2},
                                    {"d", MarkAction::Match, 0xf, 0x2},
                                    {"e", MarkAction::Match, 0xff0000, 0x80000}});
  ASSERT_EQ(problems.size(), 2U);
  EXPECT_EQ(problems[0].field, "d");
  EXPECT_EQ(problems[1].field, "a and others");
}

TEST(StampCollisions, NoMaskHelpsAgainstOneWhoTakesAllBits) {
  const auto problems = collisions({{"x", MarkAction::Set, 0xffffffff, 0x1}});
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems[0].accepted, Not(HasSubstr("--stamp-mask")));
  EXPECT_EQ(problems[0].accepted, "a rule with a mask that is clear of 0xff001fff");
}

TEST(UnreadMarks, AreToldOf) {
  MarkFacts facts;
  facts.unread = {"cannot list the rules of nftables: denied"};
  EXPECT_TRUE(stamp_collisions(kStamp, facts).empty());
  ASSERT_EQ(unread_marks(facts).size(), 1U);
  EXPECT_THAT(unread_marks(facts)[0].text(), HasSubstr("nftables: denied; collisions"));
  for (std::uint32_t number = 0; number <= MarkFacts::kMostUses; number++)
    facts.add({"x", MarkAction::Match, 0x1fff, number});
  EXPECT_EQ(facts.uses.size(), MarkFacts::kMostUses);
  EXPECT_EQ(unread_marks(facts).size(), 2U);
}

TEST(ClearStampMask, IsTheDefaultWhereThatIsClear) {
  MarkFacts facts;
  facts.uses = {{"x", MarkAction::Match, 0xff0000, 0x40000}, {"y", MarkAction::Set, 0xffffffff, 0x1}};
  EXPECT_EQ(clear_stamp_mask(facts), GRANTD_STAMP_MASK_DEFAULT);
}

TEST(ClearStampMask, KeepsClearOfWellKnownMarksWhereThereIsRoom) {
  MarkFacts facts;
  facts.uses = {{"x", MarkAction::Match, 0x80000000, 0x80000000}};
  EXPECT_EQ(clear_stamp_mask(facts), 0x7f001fffU);
  facts.uses = {{"x", MarkAction::Match, 0x1, 0x1}, {"y", MarkAction::Match, 0xff0000, 0x40000}};
  EXPECT_EQ(clear_stamp_mask(facts), 0xff003ffeU);
}

TEST(ClearStampMask, IsNoneWhereThereIsNoRoom) {
  MarkFacts facts;
  facts.uses = {{"x", MarkAction::Match, 0xffff0000, 0x10000}, {"y", MarkAction::Match, 0x8, 0x8}};
  EXPECT_EQ(clear_stamp_mask(facts), std::nullopt) << "Calico's mask, and one more bit";
  EXPECT_THAT(stamp_collisions(kStamp, facts)[0].accepted, Not(HasSubstr("--stamp-mask")));
}

RC_GTEST_PROP(ClearStampMask, IsAcceptedAndClear, (std::uint32_t first, std::uint32_t second)) {
  MarkFacts facts;
  facts.add({"x", MarkAction::Match, first & second & 0x7fffffff, 0});
  const auto mask = clear_stamp_mask(facts);
  if (!mask) return;
  RC_ASSERT(stamp_settings(*mask).ok());
  RC_ASSERT((*mask & first & second & 0x7fffffff) == 0U);
  RC_ASSERT(stamp_collisions(stamp_settings(*mask).value(), facts).empty());
}

}  // namespace
}  // namespace grantd
