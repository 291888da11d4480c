// What an agent knows of time when it starts: by what reckoning Grants have ended while there was none. A step of the
// wall clock would be one for the whole machine: what stands for it is the offset that the agent before has left.
#include "agent/node/node_time.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

constexpr std::uint64_t kSecond = GRANTD_NS_PER_SECOND;

class NodeTimeTest : public testing::Test {
 protected:
  NodeTime open(std::uint64_t known_offset_ns) {
    auto time = NodeTime::open(directory_.path(), true, known_offset_ns);
    EXPECT_TRUE(time.ok());
    return std::move(time).value();
  }
  static std::uint64_t offset() { return NodeClock::open(0).value().boot_to_wall_ns(); }

  TemporaryDirectory directory_;
  std::vector<Problem> problems_;
};

TEST_F(NodeTimeTest, AClockThatWentOnIsTrusted) {
  const TimeFacts facts = open(offset()).facts({}, problems_);
  EXPECT_TRUE(facts.trusted);
  EXPECT_THAT(problems_, testing::IsEmpty());
}

TEST_F(NodeTimeTest, AClockThatWasSetBackWhileNoAgentRanIsNotTrusted) {
  EXPECT_FALSE(open(offset() + 3600 * kSecond).facts({}, problems_).trusted);
  EXPECT_THAT(problems_.at(0).text(), testing::HasSubstr("behind a time that this node has seen"));
  EXPECT_FALSE(open(0).facts({}, problems_).trusted) << "which is remembered on disk";
}

TEST_F(NodeTimeTest, WhatEndedByTheReckoningOfTheAgentBeforeDoesNotBeginAgain) {
  Grant dated = desired::grant("g", {}), later = desired::grant("h", {});
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
