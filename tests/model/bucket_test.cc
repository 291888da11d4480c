#include "tests/model/bucket.h"

#include <gtest/gtest.h>

namespace grantd::model {
namespace {

constexpr double kRate = 8000;  // bits per second: nothing to speak of flows in meanwhile

TEST(ModelBucket, HoldsItsBurstAndNoMore) {
  Bucket bucket(kRate, 160 * 1024, 0);
  EXPECT_TRUE(bucket.passed(150 * 1024, 0, 0));
  EXPECT_FALSE(bucket.passed(20 * 1024, 0, 0));
}

TEST(ModelBucket, RefusesOnlyWhatItDoesNotHold) {
  Bucket bucket(kRate, 160 * 1024, 0);
  EXPECT_FALSE(bucket.refused(100 * 1024, 0, 0));
  EXPECT_TRUE(bucket.refused(161 * 1024, 0, 0));
}

TEST(ModelBucket, FillsWithTime) {
  Bucket bucket(kRate, 160 * 1024, 0);
  EXPECT_TRUE(bucket.passed(160 * 1024, 0, 0));
  const BootNanoseconds later = 10'000'000'000;  // a second fills 1,000 bytes
  EXPECT_FALSE(bucket.passed(11'000, later, later));
  Bucket other(kRate, 160 * 1024, 0);
  EXPECT_TRUE(other.passed(160 * 1024, 0, 0));
  EXPECT_TRUE(other.passed(9'000, later, later));
}

// Found by a run of seed 3: CPUs keep what they have borrowed, a sixteenth of the burst at most.
TEST(ModelBucket, HoldsWhatWasBorrowedWhenItsBurstIsLowered) {
  Bucket bucket(kRate, 200 * 1024, 0);
  EXPECT_TRUE(bucket.passed(190 * 1024, 0, 0));
  bucket.change(kRate, 128 * 1024, 0, 0);
  EXPECT_TRUE(bucket.passed(5 * 1024, 0, 0));
  EXPECT_TRUE(bucket.passed(3 * 1024, 0, 0));
  EXPECT_FALSE(bucket.passed(13 * 1024, 0, 0));
}

TEST(ModelBucket, TimeCountsAtTheRateInForce) {
  constexpr BootNanoseconds kSecond = 1'000'000'000;
  struct Case {
    BootNanoseconds change;  // at some moment of the second after
    double there, not_there;
  };
  for (const Case& each : {Case{0, 78'000, 121'000}, Case{5 * kSecond, 123'000, 166'000}}) {
    Bucket bucket(10 * kRate, 160 * 1024, 0);
    EXPECT_TRUE(bucket.passed(160 * 1024, 0, 0));
    bucket.change(kRate, 160 * 1024, each.change, each.change + kSecond);
    EXPECT_FALSE(bucket.refused(each.there, 100 * kSecond, 100 * kSecond)) << each.change;
    EXPECT_FALSE(bucket.passed(each.not_there, 100 * kSecond, 100 * kSecond)) << each.change;
  }
}

TEST(ModelBucket, OwesWhatASmallerBurstHasNoRoomFor) {
  Bucket bucket(kRate, 400 * 1024, 0);
  EXPECT_TRUE(bucket.passed(400 * 1024, 0, 0));
  bucket.change(kRate, 160 * 1024, 0, 0);
  EXPECT_TRUE(bucket.refused(11 * 1024, 0, 0));
  const BootNanoseconds later = 60'000'000'000;  // a second fills 1,000 bytes
  EXPECT_FALSE(bucket.refused(24'000, later, later)) << "what was owed is none of the new burst";
  EXPECT_TRUE(bucket.passed(19'000, later, later));
  bucket.change(kRate, 400 * 1024, later, later);
  EXPECT_FALSE(bucket.passed(67 * 1024, later, later)) << "it is owed again";
}

}  // namespace
}  // namespace grantd::model
