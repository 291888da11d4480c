// From dates to boot time, and what a node remembers of them.
#include "agent/compile/validity.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using desired::grant;
using desired::noon;
using std::chrono::hours;
using std::chrono::seconds;

CompiledGrant judged(const Grant& one, const TimeFacts& time, bool* open = nullptr) {
  CompiledGrant compiled;
  const bool destinations_open = judge_validity(one, time, compiled);
  if (open) *open = destinations_open;
  return compiled;
}

TEST(Validity, DatesBecomeBootTime) {
  Grant dated = grant("g", {});
  const TimeFacts time = noon();
  dated.valid_from = time.now - seconds(900);
  dated.valid_until = time.now + seconds(10);
  const CompiledGrant compiled = judged(dated, time);
  EXPECT_EQ(compiled.phase, GRANTD_PHASE_ACTIVE);
  EXPECT_EQ(compiled.not_after, time.boot_now + 10 * GRANTD_NS_PER_SECOND);
  EXPECT_EQ(compiled.not_before, time.boot_now - 900 * GRANTD_NS_PER_SECOND);
  EXPECT_EQ(compiled.valid_from, dated.valid_from);
  EXPECT_EQ(compiled.valid_until, dated.valid_until);
  EXPECT_EQ(compiled.end_reason, GRANTD_REASON_EXPIRED);
}

TEST(Validity, TheSameDatesGiveTheSameRecordLater) {
  Grant dated = grant("g", {});
  TimeFacts time = noon();
  dated.valid_from = time.now - seconds(5);
  dated.valid_until = time.now + seconds(10);
  const CompiledGrant before = judged(dated, time);
  time.now += seconds(3);
  time.boot_now += 3 * GRANTD_NS_PER_SECOND;
  const CompiledGrant after = judged(dated, time);
  EXPECT_EQ(before.not_before, after.not_before);
  EXPECT_EQ(before.not_after, after.not_after);
}

TEST(Validity, WhatBeganBeforeTheNodeBootedHasBegun) {
  Grant dated = grant("g", {});
  TimeFacts time = noon();
  time.boot_now = 10 * GRANTD_NS_PER_SECOND;
  for (const auto& [ago, not_before] :
       {std::pair(seconds(9), GRANTD_NS_PER_SECOND), {seconds(10), kAtOnce}, {seconds(11), kAtOnce}}) {
    dated.valid_from = time.now - ago;
    EXPECT_EQ(judged(dated, time).not_before, not_before) << ago.count();
  }
}

TEST(Validity, WhatEndsOfItselfAtTheEndOfItsNoticeExpires) {
  Grant revoked = grant("g", {});
  const TimeFacts time = noon();
  revoked.revoked = true;
  revoked.notice_period = seconds(60);
  revoked.valid_until = time.now + seconds(60);
  EXPECT_EQ(judged(revoked, time).end_reason, GRANTD_REASON_EXPIRED);
  revoked.valid_until = time.now + seconds(61);
  EXPECT_EQ(judged(revoked, time).end_reason, GRANTD_REASON_REVOKED);
}

TEST(Validity, OfAGrantThatIsGoneItIsRememberedWhenItWasRevoked) {
  Grant revoked = grant("g", {});
  revoked.revoked = true;
  revoked.notice_period = seconds(60);
  TimeFacts time = latch(noon(), {revoked});
  time.now += seconds(30);
  time = latch(time, {});
  EXPECT_EQ(time.revoked_at.at(revoked.key()), noon().now);
}

TEST(Validity, ARevocationWithoutNoticeEndsEverything) {
  Grant revoked = grant("g", {});
  revoked.revoked = true;
  bool open = true;
  const CompiledGrant compiled = judged(revoked, noon(), &open);
  EXPECT_FALSE(open);
  EXPECT_EQ(compiled.not_after, 1U);
  EXPECT_EQ(compiled.end_reason, GRANTD_REASON_REVOKED);
  EXPECT_EQ(compiled.phase, GRANTD_PHASE_REVOKED);
}

TEST(Validity, NeitherARestartNorAnEditMakesANoticeLonger) {
  Grant revoked = grant("g", {});
  revoked.revoked = true;
  revoked.notice_period = seconds(60);
  TimeFacts time = latch(noon(), {revoked});
  EXPECT_EQ(judged(revoked, time).not_after, time.boot_now + 60 * GRANTD_NS_PER_SECOND);
  time.now += seconds(30);
  time.boot_now += 30 * GRANTD_NS_PER_SECOND;
  revoked.notice_period = hours(5);
  time = latch(time, {revoked});
  EXPECT_EQ(judged(revoked, time).not_after, time.boot_now + 30 * GRANTD_NS_PER_SECOND);
  revoked.notice_period = seconds(40);
  time = latch(time, {revoked});
  EXPECT_EQ(judged(revoked, time).not_after, time.boot_now + 10 * GRANTD_NS_PER_SECOND) << "shorter it may become";
  revoked.notice_period = seconds(60);
  time = latch(time, {revoked});
  EXPECT_EQ(judged(revoked, time).not_after, time.boot_now + 10 * GRANTD_NS_PER_SECOND);
}

TEST(Validity, NorDoesAGrantThatWasGone) {
  Grant revoked = grant("g", {});
  revoked.revoked = true;
  revoked.notice_period = seconds(60);
  TimeFacts time = latch(noon(), {revoked});
  const WallTime end = time.now + seconds(60);
  time = latch(time, {});
  revoked.notice_period = hours(5);
  EXPECT_EQ(judged(revoked, latch(time, {revoked})).not_after, time.boot_now + 60 * GRANTD_NS_PER_SECOND);
  time.now = end + hours(23);
  time = latch(time, {});
  EXPECT_EQ(judged(revoked, latch(time, {revoked})).not_after, 1U) << "over";
  TimeFacts renewed = time;
  revoked.revoked = false;
  renewed = latch(renewed, {revoked});
  revoked.revoked = true;
  EXPECT_EQ(judged(revoked, latch(renewed, {revoked})).not_after, time.boot_now + 18'000 * GRANTD_NS_PER_SECOND)
      << "another revocation, after it was taken back";
  time.now = end + hours(24);
  time.trusted = false;
  EXPECT_EQ(latch(time, {}).notice_ends.size(), 1U) << "by a clock that may be wrong nothing is forgotten";
  time.trusted = true;
  EXPECT_TRUE(latch(time, {}).notice_ends.empty());
  EXPECT_TRUE(latch(time, {}).revoked_at.empty());
}

TEST(Validity, OfGrantsThatAreGoneTheLatestThousandNoticesStay) {
  TimeFacts time = noon();
  for (int number = 0; number < 1100; number++)
    time.notice_ends["keystone-system/g" + std::to_string(number)] = time.now + seconds(number);
  const auto left = latch(time, {}).notice_ends;
  EXPECT_EQ(left.size(), 1024U);
  EXPECT_FALSE(left.contains("keystone-system/g75"));
  EXPECT_TRUE(left.contains("keystone-system/g76"));
}

TEST(Validity, WhatHasExpiredStaysSoUntilItsSpecChanges) {
  Grant dated = grant("g", {});
  TimeFacts time = noon();
  dated.valid_until = time.now - seconds(1);
  time = latch(time, {dated});
  time.now -= hours(24);
  CompiledGrant compiled = judged(dated, time);
  EXPECT_EQ(compiled.phase, GRANTD_PHASE_EXPIRED);
  EXPECT_EQ(compiled.not_after, 1U);
  dated.revoked = true;
  EXPECT_EQ(judged(dated, time).end_reason, GRANTD_REASON_EXPIRED) << "also where it is revoked since";
  dated.revoked = false;
  dated.spec_hash = "another";
  compiled = judged(dated, latch(time, {dated}));
  EXPECT_EQ(compiled.phase, GRANTD_PHASE_ACTIVE);
}

TEST(Validity, WhatEndedByTheHighestTimeSeenDoesNotBeginAgain) {
  Grant dated = grant("g", {}), revoked = grant("h", {});
  TimeFacts time = noon();
  dated.valid_until = time.now + seconds(1);
  revoked.revoked = true;
  revoked.notice_period = seconds(1);
  time = latch(time, {dated, revoked});
  EXPECT_GT(judged(dated, time).not_after, time.boot_now) << "the control";
  EXPECT_GT(judged(revoked, time).not_after, time.boot_now) << "the control";
  time.highest_seen = time.now + seconds(1);  // and the clock was set back by that second
  time = latch(time, {dated, revoked});
  EXPECT_EQ(judged(dated, time).not_after, 1U);
  EXPECT_EQ(judged(revoked, time).not_after, 1U);
}

TEST(Validity, AClockThatIsNotTrustedQuarantinesDatedGrantsOnly) {
  TimeFacts time = noon();
  time.trusted = false;
  Grant dated = grant("g", {}), undated = grant("h", {});
  dated.valid_until = time.now + hours(1);
  EXPECT_FALSE(judged(dated, time).quarantine.empty());
  EXPECT_EQ(judged(dated, time).cause, Cause::ClockNotTrusted);
  EXPECT_TRUE(judged(undated, time).quarantine.empty());
  undated.notice_period = seconds(1);
  EXPECT_TRUE(judged(undated, time).quarantine.empty()) << "of a notice that nobody has given";
  undated.revoked = true;
  EXPECT_FALSE(judged(undated, time).quarantine.empty());
  undated.notice_period = {};
  EXPECT_TRUE(judged(undated, time).quarantine.empty()) << "it has ended, whatever the time";
}

TEST(Validity, ANoticeThatBeganByAClockThatWasAheadIsNoLonger) {
  Grant revoked = grant("g", {}), gone = grant("h", {});
  revoked.revoked = gone.revoked = true;
  revoked.notice_period = gone.notice_period = seconds(60);
  TimeFacts time = noon();
  const WallTime now = time.now, ahead = now + hours(24 * 365 * 10);
  time.now = ahead;
  time.trusted = false;
  time = latch(time, {revoked, gone});
  time.now = now;
  time = latch(time, {revoked});
  EXPECT_EQ(time.notice_ends.at(revoked.key()), ahead + revoked.notice_period) << "which of them is right?";
  time.trusted = true;
  time = latch(time, {revoked});
  EXPECT_EQ(time.notice_ends.at(revoked.key()), now + revoked.notice_period);
  EXPECT_EQ(time.notice_ends.at(gone.key()), now + gone.notice_period);
  EXPECT_EQ(time.revoked_at.at(gone.key()), now);
  time.highest_seen = now;
  time.now -= seconds(1);  // by less than what makes it distrusted
  EXPECT_EQ(latch(time, {revoked}).notice_ends.at(revoked.key()), now + revoked.notice_period) << "the control";
}

}  // namespace
}  // namespace grantd
