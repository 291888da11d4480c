// Where the identity and the tag stand in the bits of the stamp's mask.
#pragma once

#include "maps/abi/identity.h"
#include "maps/result.h"

#include <cstdint>
#include <string>

namespace grantd {

struct StampSettings {
  std::uint32_t mask = 0;
  std::uint32_t identity_mask = 0;  // before the shift
  std::uint32_t identity_shift = 0;
  std::uint32_t tag = 0;
  auto operator<=>(const StampSettings&) const = default;
};

inline constexpr std::uint32_t kStampTagShift = 24;
inline constexpr std::uint32_t kStampTagBits = 0xffU << kStampTagShift;  // where a tag can stand; 0 in its other bits

// The identity takes the lowest 13 contiguous bits of the mask, the tag the other bits. Which tag depends on where the
// identity stands. Fails where there are no such bits, or where the tag would be 0.
Result<StampSettings> stamp_settings(std::uint32_t mask);

std::uint32_t identity_bits(const StampSettings& settings);
std::uint32_t tag_bits(const StampSettings& settings);

// Whether a stamp of the one may be read as another identity's with the other.
bool may_be_mistaken(const StampSettings& one, const StampSettings& other);

// The mark's stamp bits for an identity; 0 for nobody and for the local node, which is never stamped.
std::uint32_t stamp_of(const StampSettings& settings, std::uint32_t identity);

// The identity in a mark, as the datapath reads it.
std::uint32_t identity_of_stamp(const StampSettings& settings, std::uint32_t mark);

// A mark or a mask for people: 0x and eight digits.
std::string hexadecimal(std::uint32_t value);

}  // namespace grantd
