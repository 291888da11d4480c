#include "crd-sync/time_text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

using namespace std::chrono_literals;

TEST(TimeText, ReadsWhatKubernetesReads) {
  const WallTime time = std::chrono::sys_days{std::chrono::year{2026} / 1 / 31} + 12h + 30min + 5s;
  const struct {
    const char* text;
    WallTime time;
  } cases[] = {
      {"1970-01-01T00:00:00Z", WallTime{}},
      {"1970-01-01T00:00:00+00:01", WallTime{}},
      {"1970-01-01T22:59:59.5+23:59", WallTime{}},
      {"2026-01-31T12:30:05Z", time},
      {"2026-01-31T12:30:05.5Z", time + 500ms},
      {"2026-01-31T12:30:05.000000001Z", time + 1ns},
      {"2026-01-31T14:30:05+02:00", time},
      {"2026-01-31T07:00:05-05:30", time},
      {"2026-01-31T12:30:05-00:00", time},
      {"2024-02-29T00:00:00Z", std::chrono::sys_days{std::chrono::year{2024} / 2 / 29}},
      {"2261-12-31T23:59:59Z", std::chrono::sys_days{std::chrono::year{2261} / 12 / 31} + 24h - 1s},
  };
  for (const auto& test : cases) {
    const auto read = parse_time(test.text);
    ASSERT_TRUE(read) << test.text;
    EXPECT_EQ(read.value(), test.time) << test.text;
  }
}

TEST(TimeText, RefusesEverythingElse) {
  for (const char* text : {"",
                           "now",
                           "2026-01-31",
                           "2026-01-31T12:30:05",
                           "2026-01-31 12:30:05Z",
                           "2026-01-31t12:30:05z",
                           "2026-01-31T12:30Z",
                           "2026-1-31T12:30:05Z",
                           "2026-02-29T00:00:00Z",
                           "2026-13-01T00:00:00Z",
                           "2026-00-01T00:00:00Z",
                           "2026-04-31T00:00:00Z",
                           "2026-01-31T24:00:00Z",
                           "2026-01-31T12:60:00Z",
                           "2016-12-31T23:59:60Z",
                           "2026-01-31T12:30:05.Z",
                           "2026-01-31T12:30:05.1234567890Z",
                           "2026-01-31T12:30:05+0200",
                           "2026-01-31T12:30:05+24:00",
                           "2026-01-31T12:30:05+02:60",
                           "2026-01-31T12:30:05Z ",
                           " 2026-01-31T12:30:05Z",
                           "+2026-01-31T12:30:05Z",
                           "1969-12-31T23:59:59Z",
                           "2262-01-01T00:00:00Z",
                           "0000-01-01T00:00:00Z"})
    EXPECT_FALSE(parse_time(text)) << text;
}

RC_GTEST_PROP(TimeText, WhatIsWrittenReadsBack, ()) {
  const WallTime time{std::chrono::nanoseconds(*rc::gen::inRange<std::int64_t>(0, 9'214'646'399'000'000'000))};
  RC_ASSERT(parse_time(time_text(time)).value() == time);
}

RC_GTEST_PROP(TimeText, AnyTextIsReadOrRefusedWithoutHarm, (const std::string& text)) { (void)parse_time(text).ok(); }

}  // namespace
}  // namespace grantd
