#include "agent/snapshot/waiting_bytes.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

// Of a guest whose queues are these.
std::array<UsageState, GRANTD_DIRECTIONS> waiting(const grantd_queue& queue, const Backlogs& backlogs) {
  std::array<UsageState, GRANTD_DIRECTIONS> usage;
  note_waiting_bytes(queue, backlogs, usage);
  return usage;
}

TEST(WaitingBytes, AreThoseOfTheGuestsClasses) {
  const auto usage = waiting({{0x10005, 0x10006}}, {.bytes = {{5, 700}, {6, 0}, {7, 9}}});
  EXPECT_EQ(usage[GRANTD_EGRESS].waiting_bytes, 700U);
  EXPECT_EQ(usage[GRANTD_INGRESS].waiting_bytes, 0U) << "an empty one, of which it is known";
}

TEST(WaitingBytes, AreNotKnownWhereTheKernelDidNotTellOfTheClass) {
  const auto usage = waiting({{0x10005, 0x10006}}, {.bytes = {{6, 300}}, .whole = false});
  EXPECT_EQ(usage[GRANTD_EGRESS].waiting_bytes, std::nullopt);
  EXPECT_EQ(usage[GRANTD_INGRESS].waiting_bytes, 300U);
}

TEST(WaitingBytes, WithoutAQueueNothingWaits) {
  EXPECT_EQ(waiting({{0, 0x10006}}, {})[GRANTD_EGRESS].waiting_bytes, 0U);
}

}  // namespace
}  // namespace grantd
