#include "agent/metrics/lost_bytes.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

class LostBytesTest : public testing::Test {
 protected:
  // What a scrape says of a guest that gave 5000 bytes into a queue.
  std::uint64_t lost(std::uint64_t returned, std::uint64_t waiting, std::uint32_t endpoint_id = 1) {
    Snapshot snapshot;
    UsageState& state = snapshot.usage[endpoint_id][GRANTD_EGRESS];
    state.usage.queued_bytes = 5000;
    state.usage.returned_bytes = returned;
    state.waiting_bytes = waiting;
    lost_.keep(snapshot);
    return state.lost_bytes();
  }
  LostBytes lost_;
};

TEST_F(LostBytesTest, NeverGoDown) {
  EXPECT_EQ(lost(2000, 2500), 500U);
  EXPECT_EQ(lost(2000, 2000), 1000U) << "under way, or lost";
  EXPECT_EQ(lost(2500, 2000), 1000U) << "500 of them have come back";
  EXPECT_EQ(lost(2500, 1000), 1500U);
}

TEST_F(LostBytesTest, AreOfEachGuest) {
  EXPECT_EQ(lost(2000, 2500), 500U);
  EXPECT_EQ(lost(5000, 0, 2), 0U) << "another guest, and the first is gone";
  EXPECT_EQ(lost(5000, 0, 1), 0U);
}

}  // namespace
}  // namespace grantd
