#include "agent/snapshot/lost_bytes.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

class LostBytesTest : public testing::Test {
 protected:
  // What is said of a guest of which a look has seen so much.
  std::optional<std::uint64_t> lost(std::optional<std::uint64_t> seen, std::uint32_t endpoint_id = 1,
                                    std::uint64_t queued = 5000) {
    Snapshot snapshot;
    UsageState& state = snapshot.usage[endpoint_id][GRANTD_EGRESS];
    state.usage.queued_bytes = queued;
    state.lost_bytes = seen;
    lost_.keep(snapshot);
    return state.lost_bytes;
  }
  LostBytes lost_;
};

TEST_F(LostBytesTest, NeverGoDown) {
  EXPECT_EQ(lost(std::nullopt), std::nullopt) << "not known yet";
  EXPECT_EQ(lost(500), 500U);
  EXPECT_EQ(lost(1000), 1000U);
  EXPECT_EQ(lost(0), 1000U);
  EXPECT_EQ(lost(std::nullopt), 1000U);
  EXPECT_EQ(lost(1500), 1500U);
}

TEST_F(LostBytesTest, AreOfEachGuest) {
  EXPECT_EQ(lost(500), 500U);
  EXPECT_EQ(lost(0, 2), 0U) << "another guest, and the first is gone";
  EXPECT_EQ(lost(0, 1), 0U);
}

TEST_F(LostBytesTest, BeginAnewWithTheCounters) {
  EXPECT_EQ(lost(500), 500U);
  EXPECT_EQ(lost(0, 1, 1000), 0U);
}

}  // namespace
}  // namespace grantd
