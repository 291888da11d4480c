// Refused packets that people are told of.
#include "agent/status/violations.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::HasSubstr;

std::vector<grantd_counter> counted(std::uint32_t reason, std::uint64_t packets) {
  std::vector<grantd_counter> counters(GRANTD_COUNTERS);
  counters[GRANTD_COUNTER_INDEX(GRANTD_EGRESS, reason)].packets = packets;
  return counters;
}

TEST(Violations, ThoseSinceTheyWereTold) {
  ViolationWatch watch({"a/old"});
  EXPECT_TRUE(watch.look("a/old", counted(GRANTD_REASON_DESTINATION, 100)).empty()) << "before this agent came";
  const auto later = watch.look("a/old", counted(GRANTD_REASON_DESTINATION, 103));
  ASSERT_EQ(later.size(), 1U);
  EXPECT_EQ(later[0].packets, 3U);
  EXPECT_EQ(watch.look("a/old", counted(GRANTD_REASON_DESTINATION, 104))[0].packets, 4U) << "not told yet";
  watch.told(later[0]);
  const auto since = watch.look("a/old", counted(GRANTD_REASON_DESTINATION, 104));
  ASSERT_EQ(since.size(), 1U);
  EXPECT_EQ(since[0].packets, 1U) << "what came while the Event was on its way";
  watch.told(since[0]);
  EXPECT_TRUE(watch.look("a/old", counted(GRANTD_REASON_DESTINATION, 104)).empty());
  EXPECT_EQ(watch.look("a/new", counted(GRANTD_REASON_DESTINATION, 2))[0].packets, 2U);
  EXPECT_EQ(watch.look("a/old", counted(GRANTD_REASON_DESTINATION, 1))[0].packets, 1U) << "a new table";
}

TEST(Violations, SomeRefusalsAlarmNobody) {
  ViolationWatch watch({});
  for (const std::uint32_t reason : {GRANTD_REASON_LINK_CHATTER, GRANTD_REASON_RATE_LIMIT, GRANTD_REASON_QUARANTINE,
                                     GRANTD_REASON_EXPIRED, GRANTD_REASON_ESTABLISHED})
    EXPECT_TRUE(watch.look("a/g", counted(reason, 5)).empty()) << reason;
}

TEST(Violations, TellWhatToDo) {
  const Occasion occasion = violation_occasion({"a/g", GRANTD_EGRESS, GRANTD_REASON_DESTINATION, 3}, "uid-g", "node-a");
  EXPECT_EQ(occasion.about.name, "g");
  EXPECT_EQ(occasion.detail, "egress, destination");
  EXPECT_THAT(occasion.message, HasSubstr("3 packets refused on node node-a"));
  EXPECT_THAT(occasion.message, HasSubstr("grantctl drops --grant a/g"));
  EXPECT_THAT(occasion.message, HasSubstr("spec.networkPolicy.allowedDestinations"));
}

}  // namespace
}  // namespace grantd
