// What an agent knows of time when it starts: by what reckoning Grants have ended while there was none. A step of the
// wall clock would be one for the whole machine: what stands for it is the offset that the agent before has left.
#include "agent/node/node_time.h"

#include "agent/compile/validity.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace grantd {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;

constexpr std::uint64_t kTenYears = std::uint64_t{3650} * 24 * 3600 * kSecond;

class NodeTimeTest : public testing::Test {
 protected:
  NodeTime open(std::uint64_t known_offset_ns, bool trust_clock = true) {
    auto time = NodeTime::open(directory_.path(), trust_clock, known_offset_ns, [this] { return synchronised_; });
    EXPECT_TRUE(time.ok());
    return std::move(time).value();
  }
  // As a pass of the agent asks.
  TimeFacts pass(NodeTime& time, const std::vector<Grant>& grants = {}) {
    TimeFacts facts = time.facts(grants, problems_);
    time.keep(problems_);
    return facts;
  }
  TimeFacts pass(NodeTime&& time, const std::vector<Grant>& grants = {}) { return pass(time, grants); }
  static std::uint64_t offset() { return NodeClock::open(0).value().boot_to_wall_ns(); }
  // What an agent leaves that ran with that offset until an hour ago, with a clock that was trusted.
  void leave_trusted(std::uint64_t offset_ns) const {
    Latches latches;
    latches.highest_seen = wall_by(offset_ns, boot_now()) - std::chrono::hours(1);
    latches.trusted_offset_ns = offset_ns;
    EXPECT_TRUE(file().save(latches));
  }
  LatchFile file() const { return LatchFile(directory_.path()); }

  TemporaryDirectory directory_;
  std::vector<Problem> problems_;
  bool synchronised_ = false;
};

TEST_F(NodeTimeTest, AClockThatWentOnIsTrusted) {
  const TimeFacts facts = pass(open(offset()));
  EXPECT_TRUE(facts.trusted);
  EXPECT_THAT(problems_, testing::IsEmpty());
}

TEST_F(NodeTimeTest, AClockThatWasSetBackWhileNoAgentRanIsNotTrusted) {
  Grant dated = desired::grant("g", {});
  leave_trusted(offset() + 3600 * kSecond);
  dated.valid_until = wall_by(offset(), boot_now()) + std::chrono::minutes(30);
  const TimeFacts facts = pass(open(offset() + 3600 * kSecond), {dated});
  EXPECT_FALSE(facts.trusted);
  EXPECT_GT(facts.highest_seen, *dated.valid_until) << "it has ended by that reckoning";
  EXPECT_THAT(problems_.at(0).text(), testing::HasSubstr("behind a time that this node has seen"));
  EXPECT_FALSE(pass(open(0)).trusted) << "which is remembered on disk";
}

// Though the step is smaller than what is written down without a reason.
TEST_F(NodeTimeTest, AStepBackIsRememberedByTheNextAgentToo) {
  Latches latches;
  latches.trusted_offset_ns = offset() + 30 * kSecond;
  latches.highest_seen = wall_by(offset(), boot_now()) - std::chrono::seconds(5);
  ASSERT_TRUE(file().save(latches));
  EXPECT_FALSE(pass(open(offset() + 30 * kSecond)).trusted);
  EXPECT_FALSE(pass(open(offset())).trusted);
}

TEST_F(NodeTimeTest, AnOlderAgentsReckoningCountsWhateverItsClockWas) {
  directory_.write("latches.json", R"({"highestSeen": 1, "revokedAt": {}, "noticeEnds": {}, "expired": {}})");
  EXPECT_FALSE(pass(open(offset() + 3600 * kSecond)).trusted);
}

TEST_F(NodeTimeTest, AClockIsTrustedWhereItIsSynchronisedOrSaidToBeRight) {
  EXPECT_FALSE(pass(open(offset(), false)).trusted);
  EXPECT_THAT(problems_.at(0).text(), testing::HasSubstr("is not synchronised"));
  EXPECT_TRUE(pass(open(offset(), true)).trusted);
  synchronised_ = true;
  EXPECT_TRUE(pass(open(offset(), false)).trusted);
}

// The machine's clock may be of any year until it is synchronised.
TEST_F(NodeTimeTest, WhatAnUnsynchronisedClockShowsIsNotRemembered) {
  NodeTime time = open(0, false);
  EXPECT_FALSE(pass(time).trusted);
  time.drain();
  EXPECT_EQ(pass(time).highest_seen, WallTime());
  EXPECT_EQ(file().load().value().highest_seen, WallTime());
  EXPECT_EQ(file().load().value().trusted_offset_ns, 0U);
  synchronised_ = true;
  pass(time);
  EXPECT_GT(file().load().value().highest_seen, WallTime()) << "the control";
  EXPECT_EQ(file().load().value().trusted_offset_ns, time.boot_to_wall_ns());
  const WallTime before = pass(time).now;
  time.drain();
  EXPECT_GT(pass(time).highest_seen, before) << "the control: up to the step it was right";
}

TEST_F(NodeTimeTest, AClockThatWasAheadWhileItWasNotSynchronisedClosesNothingLater) {
  synchronised_ = true;
  leave_trusted(offset() - 3600 * kSecond);  // of the boot before
  EXPECT_TRUE(pass(open(offset() + kTenYears, false)).trusted);
  std::filesystem::remove(file().path());
  EXPECT_TRUE(pass(open(offset() + kTenYears, false)).trusted) << "and on a node that is new";
  EXPECT_THAT(problems_, testing::IsEmpty());
}

// docs/operations.md, "A clock that was ahead".
TEST_F(NodeTimeTest, AClockThatWasAheadAndTrustedIsForgottenWithTheFile) {
  Grant dated = desired::grant("g", {});
  dated.valid_until = wall_by(offset(), boot_now()) + std::chrono::hours(1);
  leave_trusted(offset() + kTenYears);
  Latches latches = file().load().value();
  latches.expired[dated.key()] = dated.spec_hash;
  ASSERT_TRUE(file().save(latches));
  for (const bool trust_clock : {false, true})
    EXPECT_FALSE(pass(open(offset(), trust_clock), {dated}).trusted) << trust_clock;
  EXPECT_THAT(problems_.at(0).text(), testing::HasSubstr(file().path() + " removed"));
  std::filesystem::remove(file().path());
  const TimeFacts facts = pass(open(offset() + kTenYears), {dated});
  EXPECT_TRUE(facts.trusted);
  EXPECT_THAT(facts.expired, testing::IsEmpty());
}

// A revocation that is first seen while the clock is ahead.
TEST_F(NodeTimeTest, TheHighestTimeIsWrittenNowAndThen) {
  NodeTime time = open(0);
  pass(time);
  const WallTime written = file().load().value().highest_seen;
  pass(time);
  pass(time);
  EXPECT_EQ(file().load().value().highest_seen, written) << "not at each look";
}

TEST_F(NodeTimeTest, WhatEndedByTheReckoningOfTheAgentBeforeDoesNotBeginAgain) {
  Grant dated = desired::grant("g", {}), later = desired::grant("h", {});
  leave_trusted(offset() + kSecond);
  NodeTime time = open(offset() + kSecond);
  const WallTime now = wall_by(offset(), boot_now());
  dated.valid_until = now + std::chrono::milliseconds(500);
  later.valid_until = now + std::chrono::hours(1);
  const TimeFacts facts = time.facts({dated, later}, problems_);
  EXPECT_TRUE(facts.trusted) << "a second is no step";
  EXPECT_THAT(facts.expired, testing::ElementsAre(testing::Pair(dated.key(), dated.spec_hash)));
}

}  // namespace
}  // namespace grantd
