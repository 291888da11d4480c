#include "agent/ctl/view/units.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace grantd {
namespace {

// One decimal where there would be fewer than three digits, and none where it would be zero.
std::string scaled(std::uint64_t value, std::uint64_t unit, const char* name) {
  char text[48];
  const double number = static_cast<double>(value) / static_cast<double>(unit);
  if (value % unit == 0 || number >= 100)
    std::snprintf(text, sizeof(text), "%.0f %s", number, name);
  else
    std::snprintf(text, sizeof(text), "%.1f %s", number, name);
  return text;
}

template <std::size_t N>
std::string by_steps(std::uint64_t value, std::uint64_t step, const std::array<const char*, N>& names) {
  std::uint64_t unit = 1;
  std::size_t index = 0;
  while (index + 1 < N && value / unit >= step) {
    unit *= step;
    index++;
  }
  return scaled(value, unit, names[index]);
}

}  // namespace

std::string bytes_text(std::uint64_t bytes) {
  return by_steps<6>(bytes, 1024, {"B", "KiB", "MiB", "GiB", "TiB", "PiB"});
}

std::string rate_text(std::uint64_t bits_per_second) {
  return by_steps<5>(bits_per_second, 1000, {"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"});
}

std::string duration_text(std::uint64_t nanoseconds) {
  const std::uint64_t seconds = nanoseconds / 1'000'000'000;
  if (seconds < 1) return std::to_string(nanoseconds / 1'000'000) + " ms";
  if (seconds < 120) return std::to_string(seconds) + " s";
  if (seconds < 2 * 3600) return std::to_string(seconds / 60) + " min";
  if (seconds < 48 * 3600) return std::to_string(seconds / 3600) + " h";
  return std::to_string(seconds / 86400) + " d";
}

std::string ago_text(std::uint64_t then_ns, std::uint64_t now_ns) {
  if (then_ns == 0) return "never";
  return duration_text(now_ns > then_ns ? now_ns - then_ns : 0) + " ago";
}

std::string time_text(std::int64_t unix_nanoseconds) {
  const std::time_t seconds = unix_nanoseconds / 1'000'000'000;
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[64];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

}  // namespace grantd
