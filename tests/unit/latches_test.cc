// What a node remembers of time: it comes back as it was, or is known to be damaged.
#include "agent/node/latches.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace grantd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

WallTime at(std::int64_t nanoseconds) { return WallTime(std::chrono::nanoseconds(nanoseconds)); }

Latches sample() {
  Latches latches;
  latches.highest_seen = at(1'800'000'000'123'456'789);
  latches.trusted_offset_ns = 1'700'000'000'000'000'009;
  latches.revoked_at = {{"keystone-system/bob", at(1'700'000'000'000'000'001)}, {"a/b", at(0)}};
  latches.notice_ends = {{"keystone-system/bob", at(1'700'000'060'000'000'001)}};
  latches.expired = {{"keystone-system/carol", "sha256:0123"}};
  return latches;
}

class LatchesTest : public testing::Test {
 protected:
  TemporaryDirectory directory;
  LatchFile file{directory.path()};
};

TEST_F(LatchesTest, NothingYetIsNoError) {
  const auto loaded = file.load();
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded.value(), Latches{});
}

TEST_F(LatchesTest, ComeBackToTheNanosecond) {
  ASSERT_TRUE(file.save(sample()));
  const auto loaded = file.load();
  ASSERT_TRUE(loaded) << loaded.error().message;
  EXPECT_EQ(loaded.value(), sample());
  ASSERT_TRUE(file.save(Latches{}));
  EXPECT_EQ(file.load().value(), Latches{});
}

TEST_F(LatchesTest, AreReplacedWholeAndForNobodyElseToRead) {
  directory.write("latches.json", "old");
  ASSERT_TRUE(file.save(sample()));
  EXPECT_THAT(directory.names(), ElementsAre("latches.json"));
  struct stat status {};
  ASSERT_EQ(stat(directory.path("latches.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(LatchesTest, WhereTheyCannotBeWrittenTheOldOnesStay) {
  ASSERT_TRUE(file.save(sample()));
  EXPECT_FALSE(LatchFile(directory.path("no-such-directory")).save(Latches{}));
  EXPECT_EQ(file.load().value(), sample());
}

TEST_F(LatchesTest, DamageIsAnErrorThatNamesTheFile) {
  ASSERT_TRUE(file.save(sample()));
  std::ifstream stream(directory.path("latches.json"));
  const std::string whole((std::istreambuf_iterator<char>(stream)), {});
  std::vector<std::string> damaged = {
      "",
      "null",
      "[]",
      "{}",
      R"({"highestSeen": 1, "revokedAt": {}, "noticeEnds": {}})",
      R"({"highestSeen": 1.5, "revokedAt": {}, "noticeEnds": {}, "expired": {}})",
      R"({"highestSeen": "1", "revokedAt": {}, "noticeEnds": {}, "expired": {}})",
      R"({"highestSeen": 18446744073709551615, "revokedAt": {}, "noticeEnds": {}, "expired": {}})",
      R"({"highestSeen": 1, "revokedAt": {"a/b": true}, "noticeEnds": {}, "expired": {}})",
      R"({"highestSeen": 1, "revokedAt": [], "noticeEnds": {}, "expired": {}})",
      R"({"highestSeen": 1, "revokedAt": {}, "noticeEnds": {}, "expired": {"a/b": 1}})",
      R"({"highestSeen": 1, "revokedAt": {}, "noticeEnds": {}, "expired": {}, "more": 1})",
      R"({"highestSeen": 1, "trustedOffset": -1, "revokedAt": {}, "noticeEnds": {}, "expired": {}})",
      whole + whole,
  };
  // Torn at any place but the last, which is a line's end.
  for (std::size_t length = 1; length + 1 < whole.size(); length += 7) damaged.push_back(whole.substr(0, length));
  for (const std::string& text : damaged) {
    directory.write("latches.json", text);
    const auto loaded = file.load();
    ASSERT_FALSE(loaded) << text;
    EXPECT_THAT(loaded.error().message, AllOf(HasSubstr(directory.path("latches.json")), HasSubstr("damaged")));
  }
  directory.write("latches.json", whole);
  EXPECT_EQ(file.load().value(), sample());
}

TEST_F(LatchesTest, TheFileOfAnOlderAgentTellsNoOffset) {
  directory.write("latches.json", R"({"highestSeen": 1, "revokedAt": {}, "noticeEnds": {}, "expired": {}})");
  Latches older;
  older.highest_seen = at(1);
  older.trusted_offset_ns = std::nullopt;
  ASSERT_TRUE(file.load()) << file.load().error().message;
  EXPECT_EQ(file.load().value(), older);
  ASSERT_TRUE(file.save(older));
  EXPECT_EQ(file.load().value(), older);
}

TEST_F(LatchesTest, WhatIsNoFileIsAnError) {
  std::filesystem::create_directory(directory.path("latches.json"));
  const auto loaded = file.load();
  ASSERT_FALSE(loaded);
  EXPECT_THAT(loaded.error().message, HasSubstr("latches.json"));
}

}  // namespace
}  // namespace grantd
