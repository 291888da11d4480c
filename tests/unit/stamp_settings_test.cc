#include "maps/stamp_settings.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

TEST(StampSettings, TheDefaultMaskIsTheOneThatTheDatapathIsCompiledWith) {
  const auto settings = stamp_settings(GRANTD_STAMP_MASK_DEFAULT);
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings.value().identity_shift, 0U);
  EXPECT_EQ(settings.value().identity_mask, 0x1fffU);
  EXPECT_EQ(settings.value().tag, GRANTD_STAMP_TAG & GRANTD_STAMP_MASK_DEFAULT);
}

TEST(StampSettings, TheIdentityTakesTheLowestRunThatIsLongEnough) {
  const auto settings = stamp_settings(0xff3ffe0fU);  // four bits at the bottom are too few
  ASSERT_TRUE(settings.ok());
  EXPECT_EQ(settings.value().identity_shift, 9U);
  EXPECT_EQ(settings.value().tag, 0xcd000000U) << "of that place";
}

TEST(StampSettings, TheTagLeavesTheIdentityItsBits) {
  const auto settings = stamp_settings(0xfffc0000U);  // 14 bits: identity at 18 to 30, the tag has none left
  EXPECT_FALSE(settings.ok());
  const auto wide = stamp_settings(0x7ffc0000U | 0x1fffU);
  ASSERT_TRUE(wide.ok());
  EXPECT_EQ(wide.value().identity_shift, 0U);
}

TEST(StampSettings, MasksThatCannotCarryAStampAreRefusedWithAReason) {
  for (const std::uint32_t mask : {0U, 0x1fffU, 0xfffU, 0x55555555U, 0xff000fffU}) {
    const auto settings = stamp_settings(mask);
    ASSERT_FALSE(settings.ok()) << mask;
    EXPECT_NE(settings.error().message.find("accepted:"), std::string::npos);
  }
}

TEST(StampSettings, AMaskWithoutABitOfItsPlacesTagTakesTheCommonOne) {
  EXPECT_EQ(stamp_settings(0xff003ffe).value().tag, 0x98000000U);
  EXPECT_EQ(stamp_settings(0x67003ffe).value().tag, 0x67000000U);
}

TEST(StampSettings, NobodyAndTheLocalNodeAreNeverStamped) {
  const auto settings = stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value();
  EXPECT_EQ(stamp_of(settings, GRANTD_IDENTITY_NOBODY), 0U);
  EXPECT_EQ(stamp_of(settings, GRANTD_IDENTITY_LOCAL_NODE), 0U);
  EXPECT_EQ(identity_of_stamp(settings, settings.tag | GRANTD_IDENTITY_LOCAL_NODE),
            static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY));
  EXPECT_EQ(identity_of_stamp(settings, 7), static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY)) << "no tag";
}

// The identity in the 13 bits from a place on, and of the tag's bits those that it leaves.
std::uint32_t mask_at(std::uint32_t place, std::uint32_t of_tag) { return 0x1fffU << place | (of_tag & kStampTagBits); }

TEST(MistakenStamps, NoneWhereEachHasAllBitsOfTheTagButOne) {
  for (std::uint32_t place = 0; place <= 12; place++)
    for (std::uint32_t another = 0; another <= 12; another++)
      for (std::uint32_t lacks = 24; lacks < 32; lacks++)
        for (std::uint32_t lacks_too = 24; lacks_too < 32; lacks_too++) {
          const auto one = stamp_settings(mask_at(place, ~(1U << lacks)));
          const auto other = stamp_settings(mask_at(another, ~(1U << lacks_too)));
          ASSERT_TRUE(one.ok() && other.ok()) << place << " " << another;
          ASSERT_FALSE(may_be_mistaken(one.value(), other.value()))
              << hexadecimal(one.value().mask) << " " << hexadecimal(other.value().mask);
        }
}

TEST(MistakenStamps, WhereNoBitOfBothTagsTellsThemApart) {
  const auto common = stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value();
  EXPECT_TRUE(may_be_mistaken(common, stamp_settings(0x01003ffe).value()));
  EXPECT_TRUE(may_be_mistaken(stamp_settings(0x01003ffe).value(), common));
  EXPECT_TRUE(may_be_mistaken(stamp_settings(0x07001fff).value(), stamp_settings(0x60003ffe).value()))
      << "none in common";
  EXPECT_FALSE(may_be_mistaken(common, stamp_settings(0x01001fff).value())) << "the same place: the same identity";
}

rc::Gen<StampSettings> any_layout() {
  const auto bits = rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<std::uint32_t>());
  const auto place = rc::gen::resize(rc::kNominalSize, rc::gen::inRange<std::uint32_t>(0, 18));
  const auto masks = rc::gen::apply([](std::uint32_t at, std::uint32_t of_tag, std::uint32_t more,
                                       std::uint32_t fewer) { return mask_at(at, of_tag) | (more & fewer); },
                                    place, bits, bits, bits);
  return rc::gen::map(rc::gen::suchThat(masks, [](std::uint32_t mask) { return stamp_settings(mask).ok(); }),
                      [](std::uint32_t mask) { return stamp_settings(mask).value(); });
}

// What follows from it, of packets with the mark beside a stamp by the one that is nearest to a stamp by the other.
RC_GTEST_PROP(MistakenStamps, AStampIsReadAsTheSameIdentityOrAsNobody, ()) {
  const StampSettings one = *any_layout(), other = *any_layout();
  const bool mistaken = may_be_mistaken(one, other);
  RC_TAG(mistaken);
  RC_ASSERT(mistaken == may_be_mistaken(other, one));
  const auto any = *rc::gen::resize(rc::kNominalSize, rc::gen::arbitrary<std::uint32_t>());
  const std::uint32_t nearest = (any & ~tag_bits(other)) | other.tag;
  const std::uint32_t identity = (nearest & identity_bits(one)) >> one.identity_shift;
  if (mistaken || identity < GRANTD_IDENTITY_FIRST) return;
  const std::uint32_t read = identity_of_stamp(other, stamp_of(one, identity) | (nearest & ~one.mask));
  RC_ASSERT(read == identity || read == std::uint32_t{GRANTD_IDENTITY_NOBODY});
}

RC_GTEST_PROP(StampSettings, EveryIdentityComesBackFromEveryMaskThatIsAccepted, (std::uint32_t mask)) {
  const auto settings = stamp_settings(mask | 0x67001fffU);
  RC_ASSERT(settings.ok());
  const auto identity = *rc::gen::inRange<std::uint32_t>(GRANTD_IDENTITY_FIRST, 8192);
  const auto foreign = *rc::gen::arbitrary<std::uint32_t>();
  const std::uint32_t stamp = stamp_of(settings.value(), identity);
  RC_ASSERT((stamp & ~settings.value().mask) == 0U);
  RC_ASSERT(identity_of_stamp(settings.value(), stamp | (foreign & ~settings.value().mask)) == identity);
}

}  // namespace
}  // namespace grantd
