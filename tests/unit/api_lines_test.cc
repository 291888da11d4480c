#include "crd-sync/api/backoff.h"
#include "crd-sync/api/lines.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace grantd {
namespace {

using testing::ElementsAre;

struct Taken {
  std::vector<std::string> lines;
  std::function<bool(std::string_view)> take = [this](std::string_view line) {
    lines.emplace_back(line);
    return true;
  };
};

TEST(Lines, HandsOutWhatHasAnEnd) {
  Lines lines(10);
  Taken taken;
  EXPECT_TRUE(lines.push("a\nb", taken.take));
  EXPECT_THAT(taken.lines, ElementsAre("a"));
  EXPECT_EQ(lines.pending(), 1U);
  EXPECT_TRUE(lines.push("c\n\n\r\nd\n", taken.take));
  EXPECT_THAT(taken.lines, ElementsAre("a", "bc", "d"));
  EXPECT_EQ(lines.pending(), 0U);
}

TEST(Lines, RefusesALineAboveTheBoundInOnePieceOrMany) {
  Taken taken;
  Lines whole(4), pieces(4), fits(4);
  EXPECT_FALSE(whole.push("12345\n", taken.take));
  EXPECT_TRUE(whole.too_long());
  EXPECT_TRUE(pieces.push("123", taken.take));
  EXPECT_FALSE(pieces.push("45", taken.take));
  EXPECT_TRUE(pieces.too_long());
  EXPECT_LE(pieces.pending(), 4U);
  EXPECT_THAT(taken.lines, ElementsAre());
  EXPECT_TRUE(fits.push("1234\n1234\n", taken.take));
  EXPECT_THAT(taken.lines, ElementsAre("1234", "1234"));
}

TEST(Lines, StopsWhereItIsTold) {
  Lines lines(10);
  int taken = 0;
  EXPECT_FALSE(lines.push("a\nb\n", [&taken](std::string_view) { return ++taken == 0; }));
  EXPECT_EQ(taken, 1);
  EXPECT_FALSE(lines.too_long());
}

RC_GTEST_PROP(Lines, DoNotDependOnHowTheStreamIsCut, (std::vector<std::string> pieces)) {
  std::string text;
  for (const std::string& piece : pieces) text += piece + (piece.size() % 3 == 0 ? "\n" : "");
  Taken at_once, by_byte;
  Lines whole(1000), bytes(1000);
  RC_ASSERT(whole.push(text, at_once.take));
  for (const char byte : text) RC_ASSERT(bytes.push(std::string_view(&byte, 1), by_byte.take));
  RC_ASSERT(at_once.lines == by_byte.lines);
  RC_ASSERT(whole.pending() == bytes.pending());
}

TEST(Backoff, DoublesUpToThirtySeconds) {
  Backoff backoff(1);
  for (const long whole : {800L, 1600L, 3200L, 6400L, 12800L, 25600L, 30000L, 30000L, 30000L}) {
    const auto wait = backoff.next();
    EXPECT_GE(wait.count(), whole / 2);
    EXPECT_LE(wait.count(), whole);
  }
  backoff.reset();
  EXPECT_LE(backoff.next().count(), 800);
  for (int failures = 0; failures < 200; ++failures) EXPECT_LE(backoff.next().count(), 30000);
}

TEST(Backoff, WaitsAsLongAsItIsAskedWithinReason) {
  Backoff backoff(1);
  EXPECT_EQ(backoff.next(std::chrono::seconds(5)), std::chrono::seconds(5));
  EXPECT_EQ(backoff.next(std::chrono::hours(1000)), Backoff::kMostAsked);
  EXPECT_GE(backoff.next(std::chrono::milliseconds(-5)).count(), 1600);
}

TEST(Backoff, DiffersBetweenNodes) { EXPECT_NE(Backoff(1).next(), Backoff(2).next()); }

}  // namespace
}  // namespace grantd
