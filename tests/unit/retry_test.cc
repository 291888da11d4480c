// When the agent tries again what has failed.
#include "agent/run/retry.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

constexpr BootNanoseconds kNever = 1'000'000;

Retry failed_at(BootNanoseconds now) {
  Retry retry(10, 300);
  retry.fail(now);
  return retry;
}

TEST(Retry, NothingIsDueWhereNothingFailed) { EXPECT_EQ(Retry(10, 300).next(100, 105), 105U); }

TEST(Retry, EachTimeTwiceAsLateUpToTheLongest) {
  Retry retry = failed_at(100);
  BootNanoseconds at = 100;
  for (const BootNanoseconds wait : {10U, 20U, 40U, 80U, 160U, 300U, 300U}) {
    EXPECT_EQ(retry.next(at, kNever), at + wait);
    retry.fail(at += wait);
  }
}

TEST(Retry, PassesForSomethingElsePutItOffNoFurther) {
  Retry retry = failed_at(100);
  for (BootNanoseconds now = 101; now < 110; now++) {
    retry.fail(now);
    EXPECT_EQ(retry.next(now, kNever), 110U);
  }
  retry.fail(110);
  EXPECT_EQ(retry.next(110, kNever), 130U);
}

TEST(Retry, WhatIsDueSoonerMayBeWhatFailsAndWaitsAsLongAsTheFirstTime) {
  Retry retry = failed_at(100);
  retry.fail(110);
  EXPECT_EQ(retry.next(110, 111), 120U);
  EXPECT_EQ(retry.next(110, 125), 125U);
  EXPECT_EQ(retry.next(110, kNever), 130U);
}

TEST(Retry, ItBeginsAnewOnceForgotten) {
  Retry retry = failed_at(100);
  retry.fail(110);
  retry.forget();
  EXPECT_EQ(retry.next(111, kNever), kNever);
  retry.fail(111);
  EXPECT_EQ(retry.next(111, kNever), 121U);
}

}  // namespace
}  // namespace grantd
