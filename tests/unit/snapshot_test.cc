// What a snapshot of the maps means.
#include "tests/unit/snapshot_samples.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

TEST(Standing, IsWhatTheDatapathWouldSayOfAnyPacket) {
  Snapshot node = samples::node();
  EXPECT_EQ(standing(node, 0), GRANTD_REASON_QUARANTINE);
  EXPECT_EQ(standing(node, 1), GRANTD_REASON_ESTABLISHED);
  EXPECT_EQ(standing(node, 2), GRANTD_REASON_EXPIRED);
  EXPECT_EQ(standing(node, 3), GRANTD_REASON_QUARANTINE) << "nothing published";

  node.policies[12].end_reason = GRANTD_REASON_REVOKED;
  EXPECT_EQ(standing(node, 2), GRANTD_REASON_REVOKED);
  node.policies[11].not_before_ns = samples::kBootNow + 1;
  EXPECT_EQ(standing(node, 1), GRANTD_REASON_NOT_YET_VALID);
  node.policies[11].not_before_ns = samples::kBootNow;
  EXPECT_EQ(standing(node, 1), GRANTD_REASON_ESTABLISHED);
  node.policies[11].slot = 9;
  EXPECT_EQ(standing(node, 1), GRANTD_REASON_POLICY_MISSING) << "the record is another slot's";
  node.policies.erase(12);
  EXPECT_EQ(standing(node, 2), GRANTD_REASON_POLICY_MISSING);
}

TEST(BucketLevel, IsTheBurstLessTheDebtPlusWhatCpusHold) {
  const grantd_limit limit = samples::limit(8'000'000, 1'000'000);  // a byte in a microsecond
  BucketState state;
  state.bucket.grant_epoch = 1;
  state.bucket.cost_per_byte = limit.cost_per_byte;
  const std::uint64_t now = samples::kBootNow;
  EXPECT_EQ(bucket_level_bytes(state, limit, 1, now), 1'000'000U) << "full since long ago";
  state.bucket.full_at_ns = now + 250'000'000;
  EXPECT_NEAR(static_cast<double>(bucket_level_bytes(state, limit, 1, now)), 750'000, 1);
  state.credit_bytes = 2000;
  EXPECT_NEAR(static_cast<double>(bucket_level_bytes(state, limit, 1, now)), 752'000, 1);
  EXPECT_EQ(bucket_level_bytes(state, limit, 2, now), 1'000'000U) << "another Grant's debt is not this one's";
  state.credit_bytes = 0;
  state.bucket.full_at_ns = now + 3'000'000'000;
  EXPECT_EQ(bucket_level_bytes(state, limit, 1, now), 0U);
}

TEST(Names, WhatHasNoNameIsShownByItsNumber) {
  const Snapshot node = samples::node();
  EXPECT_EQ(grant_name(node, 0), "(quarantine)");
  EXPECT_EQ(grant_name(node, 1), "keystone-system/alice-to-bob");
  EXPECT_EQ(grant_name(node, 9), "(slot 9)");
  EXPECT_EQ(identity_name(node, 0), "nobody");
  EXPECT_EQ(identity_name(node, 1), "the local node");
  EXPECT_EQ(identity_name(node, 2), "realm bob-home");
  EXPECT_EQ(identity_name(node, 77), "(identity 77)");
  EXPECT_EQ(guest_name(node, 1), "bob-web");
  EXPECT_STREQ(reason_label(200), "");
}

TEST(Clock, ABootTimeHasAWallTime) {
  const Clock clock{1000, 5000};
  EXPECT_EQ(clock.wall_of(400), 4400);
  EXPECT_EQ(clock.wall_of(1600), 5600);
}

}  // namespace
}  // namespace grantd
