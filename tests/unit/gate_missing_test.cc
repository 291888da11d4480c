// What is told of the gate where a look at it failed.
#include "agent/run/gate_missing.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

constexpr BootNanoseconds kSecond = GRANTD_NS_PER_SECOND;

class GateMissing : public testing::Test {
 protected:
  // "": it is not.
  std::string told(const Result<void>& kept, bool stands, BootNanoseconds at) {
    tell_whether_missing(kept, stands, at, status_);
    return *status_.gate_missing;
  }
  const Result<void> done_ = {}, failed_ = Error{"interrupted", 4};
  AgentStatus status_;
};

TEST_F(GateMissing, WhereItWasNotPut) {
  EXPECT_EQ(told(failed_, false, 0), "interrupted");
  EXPECT_EQ(told(done_, true, kSecond), "");
  EXPECT_EQ(told(failed_, false, 2 * kSecond), "interrupted");
}

TEST_F(GateMissing, NotWhereALookFailedThatIsNotKnownOfIt) {
  EXPECT_EQ(told(done_, true, 0), "");
  for (const BootNanoseconds at : {1U, 2U, 4U, 8U, 16U, 30U}) EXPECT_EQ(told(failed_, true, at * kSecond), "") << at;
}

TEST_F(GateMissing, ButNotForLong) {
  EXPECT_EQ(told(failed_, true, kSecond), "");
  EXPECT_THAT(told(failed_, true, 31 * kSecond), testing::EndsWith("could not be read whether it stands: interrupted"));
  EXPECT_NE(told(failed_, true, 90 * kSecond), "") << "it stays so";
  EXPECT_EQ(told(done_, true, 91 * kSecond), "");
  EXPECT_EQ(told(failed_, true, 100 * kSecond), "") << "from the first look that failed";
}

}  // namespace
}  // namespace grantd
