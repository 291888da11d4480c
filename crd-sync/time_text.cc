#include "crd-sync/time_text.h"

#include <algorithm>
#include <cstdio>

namespace grantd {
namespace {

using namespace std::chrono;

constexpr int kFirstYear = 1970, kLastYear = 2261;

// Takes parts off the front of a text; once something did not fit, `good` stays false.
struct Taker {
  std::string_view rest;
  bool good = true;

  int number(std::size_t digits, int low, int high) {
    int value = 0;
    for (std::size_t index = 0; index < digits; ++index) {
      if (index >= rest.size() || rest[index] < '0' || rest[index] > '9') {
        good = false;
        return low;
      }
      value = value * 10 + (rest[index] - '0');
    }
    rest.remove_prefix(digits);
    if (value < low || value > high) good = false;
    return value;
  }

  bool maybe(char character) {
    if (!rest.starts_with(character)) return false;
    rest.remove_prefix(1);
    return true;
  }

  void exactly(char character) {
    if (!maybe(character)) good = false;
  }

  nanoseconds fraction() {
    if (!maybe('.')) return nanoseconds{0};
    nanoseconds value{0}, unit{100'000'000};
    std::size_t digits = 0;
    while (digits < rest.size() && rest[digits] >= '0' && rest[digits] <= '9') {
      value += unit * (rest[digits] - '0');
      unit /= 10;
      ++digits;
    }
    if (digits == 0 || digits > 9) good = false;
    rest.remove_prefix(digits);
    return value;
  }

  minutes zone() {
    if (maybe('Z')) return minutes{0};
    const bool behind = maybe('-');
    if (!behind) exactly('+');
    const int hour = number(2, 0, 23);
    exactly(':');
    const minutes offset = hours{hour} + minutes{number(2, 0, 59)};
    return behind ? -offset : offset;
  }
};

}  // namespace

Result<WallTime> parse_time(std::string_view text) {
  Taker take{text};
  const int year_number = take.number(4, 0, 9999);
  take.exactly('-');
  const int month_number = take.number(2, 1, 12);
  take.exactly('-');
  const int day_number = take.number(2, 1, 31);
  take.exactly('T');
  const hours hour{take.number(2, 0, 23)};
  take.exactly(':');
  const minutes minute{take.number(2, 0, 59)};
  take.exactly(':');
  const seconds second{take.number(2, 0, 59)};
  const nanoseconds fraction = take.fraction();
  const minutes zone = take.zone();
  if (!take.good || !take.rest.empty()) return Error{"is not a time"};
  const year_month_day date{year{year_number}, month{static_cast<unsigned>(month_number)},
                            day{static_cast<unsigned>(day_number)}};
  if (!date.ok()) return Error{"is a day that its month does not have"};
  if (year_number < kFirstYear || year_number > kLastYear) return Error{"is out of range"};
  const WallTime time = sys_days{date} + hour + minute + second + fraction - zone;
  return std::max(time, WallTime{});
}

std::string time_text(WallTime time) {
  const auto day_start = floor<days>(time);
  const year_month_day date{day_start};
  const hh_mm_ss<nanoseconds> clock{time - day_start};
  char text[48];
  std::snprintf(text, sizeof text, "%04d-%02u-%02uT%02d:%02d:%02d", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  std::string result = text;
  if (clock.subseconds().count() != 0) {
    std::snprintf(text, sizeof text, ".%09lld", static_cast<long long>(clock.subseconds().count()));
    result += text;
    result.erase(result.find_last_not_of('0') + 1);
  }
  return result + "Z";
}

}  // namespace grantd
