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
  EXPECT_EQ(settings.value().tag, 0x67000000U);
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

TEST(StampSettings, NobodyAndTheLocalNodeAreNeverStamped) {
  const auto settings = stamp_settings(GRANTD_STAMP_MASK_DEFAULT).value();
  EXPECT_EQ(stamp_of(settings, GRANTD_IDENTITY_NOBODY), 0U);
  EXPECT_EQ(stamp_of(settings, GRANTD_IDENTITY_LOCAL_NODE), 0U);
  EXPECT_EQ(identity_of_stamp(settings, settings.tag | GRANTD_IDENTITY_LOCAL_NODE),
            static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY));
  EXPECT_EQ(identity_of_stamp(settings, 7), static_cast<std::uint32_t>(GRANTD_IDENTITY_NOBODY)) << "no tag";
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
