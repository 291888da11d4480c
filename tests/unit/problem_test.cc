#include "crd-sync/problem.h"

#include "crd-sync/resources.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace grantd {
namespace {

TEST(Problem, IsOneLineThatNamesEverything) {
  const Problem problem{Severity::Error,
                        {"grants/bob.yaml", 2, 17},
                        "Grant keystone-system/bob",
                        "spec.networkPolicy.allowedDestinations[2]",
                        "10.0.0.1/8",
                        "has host bits",
                        "a prefix"};
  EXPECT_EQ(problem.text(),
            "grants/bob.yaml:17 (document 2): Grant keystone-system/bob: "
            "spec.networkPolicy.allowedDestinations[2]: \"10.0.0.1/8\": has host bits; accepted: a prefix");
}

TEST(CutText, KeepsLettersWhole) {
  EXPECT_EQ(cut_text("abcdef", 6), "abcdef");
  EXPECT_EQ(cut_text("abcdefg", 6), "abc...");
  EXPECT_EQ(cut_text("ab\u00e4efg", 6), "ab...");
  EXPECT_EQ(cut_text("a\u00e4defg", 6), "a\u00e4...");
  EXPECT_EQ(cut_text("\u20ac\u20ac\u20ac", 5), "...");
  EXPECT_EQ(cut_text(std::string(10, '\x80'), 6), "...") << "no UTF-8 at all";
}

TEST(Problem, LeavesOutWhatIsUnknown) {
  EXPECT_EQ((Problem{Severity::Warning, {"a.yaml", 0, 0}, "", "", "", "is empty", ""}).text(),
            "a.yaml: warning: is empty");
}

TEST(Problem, ShowsAValueThatIsEmpty) {
  Problem problem{Severity::Error, {"a.yaml", 1, 2}, "Grant g", "spec.x", "", "is not a time", "a time"};
  EXPECT_EQ(problem.text(), "a.yaml:2 (document 1): Grant g: spec.x: is not a time; accepted: a time");
  problem.empty_value = true;
  EXPECT_EQ(problem.text(), "a.yaml:2 (document 1): Grant g: spec.x: \"\": is not a time; accepted: a time");
}

TEST(Problem, AConsequenceIsShownAsAWarning) {
  Problem problem{Severity::Error, {"a.yaml", 0, 0}, "Grant g", "", "", "is refused", ""};
  EXPECT_EQ(problem.text(), "a.yaml: Grant g: is refused");
  problem.consequence = true;
  EXPECT_EQ(problem.text(), "a.yaml: warning: Grant g: is refused");
}

TEST(Problem, NothingWrittenByOthersReachesATerminal) {
  const std::string evil = "x\x1b[31m\nERROR forged\r\t\x07\x7f\xc2\x9b";
  const std::string text = Problem{Severity::Error, {evil, 1, 1}, evil, evil, evil, evil, evil}.text();
  EXPECT_TRUE(std::all_of(text.begin(), text.end(), [](char byte) { return byte >= 0x20 && byte < 0x7f; })) << text;
  EXPECT_NE(text.find("\\x1b[31m\\nERROR"), std::string::npos) << text;
}

RC_GTEST_PROP(EscapeText, IsPrintableBoundedAndIdempotent, (const std::string& text)) {
  const auto limit = *rc::gen::inRange<std::size_t>(0, 40);
  const std::string escaped = escape_text(text, limit);
  RC_ASSERT(escaped.size() <= limit);
  RC_ASSERT(std::all_of(escaped.begin(), escaped.end(), [](char byte) { return byte >= 0x20 && byte < 0x7f; }));
  RC_ASSERT(escape_text(escaped, limit) == escaped);
}

}  // namespace
}  // namespace grantd
