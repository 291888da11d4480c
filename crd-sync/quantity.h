// Kubernetes quantities: "2", "500m", "1.5Gi", "100M", "1e3". Exact, without floating point.
#pragma once

#include "maps/result.h"

#include <cstdint>
#include <string_view>

namespace grantd {

// whole + nano / 10^9; never negative, at most 2^63 - 2.
struct Quantity {
  std::uint64_t whole = 0;
  std::uint32_t nano = 0;
  auto operator<=>(const Quantity&) const = default;
};

// Suffixes n u m k M G T P E (powers of 1000), Ki Mi Gi Ti Pi Ei (powers of 1024), or an exponent
// (e3, E-2). Refused: negative numbers, what is finer than 10^-9, what does not fit.
Result<Quantity> parse_quantity(std::string_view text);

// A rate in bits per second: a whole number that the datapath can hold a guest to.
Result<std::uint64_t> parse_bandwidth(std::string_view text);

// A burst in bytes: a whole number, at least what one packet with segmentation offload needs.
Result<std::uint64_t> parse_burst(std::string_view text);

inline constexpr std::uint64_t kMaxBurstBytes = 1ULL << 36;

// What the two above accept, for messages.
inline constexpr std::string_view kAcceptedQuantity =
    "a number with an optional suffix n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or exponent";
inline constexpr std::string_view kAcceptedBandwidth = "a whole number of bits per second from 8k to 400G";
inline constexpr std::string_view kAcceptedBurst = "a whole number of bytes from 128Ki to 64Gi";

}  // namespace grantd
