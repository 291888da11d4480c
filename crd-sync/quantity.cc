#include "crd-sync/quantity.h"

#include "maps/abi/limits.h"

#include <algorithm>
#include <optional>
#include <string>

namespace grantd {
namespace {

using Wide = unsigned __int128;

constexpr Wide kNano = 1'000'000'000;
// In billionths. Kubernetes holds 2^63 - 1, and makes that of all that is larger, so there it is no known number.
constexpr Wide kLargest = ((Wide{1} << 63) - 2) * kNano;
constexpr std::size_t kMaxDigits = 30;  // 10^30 * 1 still fits 128 bits

// kAcceptedBandwidth and kAcceptedBurst say these numbers in words.
static_assert(GRANTD_MIN_RATE_BPS == 8'000 && GRANTD_MAX_RATE_BPS == 400'000'000'000);
static_assert(GRANTD_MIN_BURST_BYTES == 128 * 1024 && kMaxBurstBytes == 64ULL << 30);

struct Scale {
  int decimal = 0;  // power of ten
  int binary = 0;   // power of two
};

// "e3", "E-2"; nothing else.
std::optional<Scale> exponent(std::string_view text) {
  text.remove_prefix(1);
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.empty()) return std::nullopt;
  text.remove_prefix(std::min(text.find_first_not_of('0'), text.size()));
  if (text.size() > 9) return std::nullopt;
  int value = 0;  // Too much, or too little, is found out soon, whatever the exponent.
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + (digit - '0');
  }
  return Scale{negative ? -value : value, 0};
}

std::optional<Scale> suffix(std::string_view text) {
  if (text.empty()) return Scale{};
  static constexpr struct {
    std::string_view text;
    Scale scale;
  } kSuffixes[] = {{"n", {-9, 0}},  {"u", {-6, 0}},  {"m", {-3, 0}},  {"k", {3, 0}},   {"M", {6, 0}},
                   {"G", {9, 0}},   {"T", {12, 0}},  {"P", {15, 0}},  {"E", {18, 0}},  {"Ki", {0, 10}},
                   {"Mi", {0, 20}}, {"Gi", {0, 30}}, {"Ti", {0, 40}}, {"Pi", {0, 50}}, {"Ei", {0, 60}}};
  for (const auto& known : kSuffixes)
    if (text == known.text) return known.scale;
  if (text[0] == 'e' || text[0] == 'E') return exponent(text);
  return std::nullopt;
}

Error too_large() { return Error{"is larger than 2^63 - 2"}; }

// A whole number from `low` to `high`.
Result<std::uint64_t> whole_between(std::string_view text, std::uint64_t low, std::uint64_t high) {
  const Result<Quantity> quantity = parse_quantity(text);
  if (!quantity) return quantity.error();
  if (quantity.value().nano != 0) return Error{"is not a whole number"};
  if (quantity.value().whole < low) return Error{"is less than " + std::to_string(low)};
  if (quantity.value().whole > high) return Error{"is more than " + std::to_string(high)};
  return quantity.value().whole;
}

}  // namespace

Result<Quantity> parse_quantity(std::string_view text) {
  std::string_view rest = text;
  if (!rest.empty() && rest[0] == '-') return Error{"is negative or no quantity"};
  if (!rest.empty() && rest[0] == '+') rest.remove_prefix(1);

  Wide number = 0;
  int decimals = 0;
  bool point = false;
  std::size_t digits = 0, significant = 0;
  int zeros = 0;  // after the last digit that is none: they make the number longer only where another one follows
  while (!rest.empty() && ((rest[0] >= '0' && rest[0] <= '9') || (rest[0] == '.' && !point))) {
    if (rest[0] == '.') {
      point = true;
    } else {
      ++digits;
      decimals += point ? 1 : 0;
      if (rest[0] == '0') {
        zeros += number != 0 ? 1 : 0;
      } else {
        significant += static_cast<std::size_t>(zeros) + 1;
        if (significant > kMaxDigits) return Error{"has more than " + std::to_string(kMaxDigits) + " digits"};
        for (; zeros > 0; --zeros) number *= 10;
        number = number * 10 + static_cast<unsigned>(rest[0] - '0');
      }
    }
    rest.remove_prefix(1);
  }
  const std::optional<Scale> scale = suffix(rest);
  if (digits == 0 || !scale) return Error{"is not a quantity"};
  if (number == 0) return Quantity{};

  // The value in billionths: number * 2^binary * 10^power.
  int power = scale->decimal + zeros - decimals + 9;
  for (int count = 0; count < scale->binary; ++count) {
    if (number > (~Wide{0} >> 1)) return too_large();
    number *= 2;
  }
  for (; power > 0; --power) {
    if (number > kLargest) return too_large();
    number *= 10;
  }
  for (; power < 0; ++power) {
    if (number % 10 != 0) return Error{"is finer than a billionth"};
    number /= 10;
  }
  if (number > kLargest) return too_large();
  return Quantity{static_cast<std::uint64_t>(number / kNano), static_cast<std::uint32_t>(number % kNano)};
}

Result<std::uint64_t> parse_bandwidth(std::string_view text) {
  return whole_between(text, GRANTD_MIN_RATE_BPS, GRANTD_MAX_RATE_BPS);
}

Result<std::uint64_t> parse_burst(std::string_view text) {
  return whole_between(text, GRANTD_MIN_BURST_BYTES, kMaxBurstBytes);
}

}  // namespace grantd
