#include "maps/stamp_settings.h"

#include <array>
#include <cstdio>

namespace grantd {

namespace {

// By the identity's place. Any two differ in at least 4 bits (the extended Hamming code), so that masks which lack one
// bit of kStampTagBits each are still told apart.
constexpr std::array<std::uint32_t, 16> kTagOfPlace = {0x00, 0xff, 0x0f, 0xf0, 0x33, 0xcc, 0x3c, 0xc3,
                                                       0x55, 0xaa, 0x5a, 0xa5, 0x69, 0x96, 0x99, 0x66};

std::uint32_t tag_of_place(std::uint32_t shift) {
  return GRANTD_STAMP_TAG ^ (kTagOfPlace[shift % kTagOfPlace.size()] << kStampTagShift);
}

}  // namespace

std::string hexadecimal(std::uint32_t value) {
  char text[11];
  std::snprintf(text, sizeof(text), "0x%08x", value);
  return text;
}

Result<StampSettings> stamp_settings(std::uint32_t mask) {
  StampSettings settings;
  settings.mask = mask;
  settings.identity_mask = (1U << GRANTD_STAMP_IDENTITY_BITS) - 1;
  while (settings.identity_shift <= 32 - GRANTD_STAMP_IDENTITY_BITS &&
         ((mask >> settings.identity_shift) & settings.identity_mask) != settings.identity_mask)
    settings.identity_shift++;
  if (settings.identity_shift > 32 - GRANTD_STAMP_IDENTITY_BITS)
    return Error{"stamp mask " + hexadecimal(mask) +
                     ": has no 13 contiguous bits for the identity; accepted: such as " +
                     hexadecimal(GRANTD_STAMP_MASK_DEFAULT),
                 0};
  settings.tag = tag_of_place(settings.identity_shift) & tag_bits(settings);
  if (settings.tag == 0) settings.tag = GRANTD_STAMP_TAG & tag_bits(settings);  // of a few bits
  if (settings.tag == 0)
    return Error{"stamp mask " + hexadecimal(mask) + ": leaves no bit for the tag " + hexadecimal(GRANTD_STAMP_TAG) +
                     "; accepted: such as " + hexadecimal(GRANTD_STAMP_MASK_DEFAULT),
                 0};
  return settings;
}

std::uint32_t identity_bits(const StampSettings& settings) { return settings.identity_mask << settings.identity_shift; }

std::uint32_t tag_bits(const StampSettings& settings) { return settings.mask & ~identity_bits(settings); }

bool may_be_mistaken(const StampSettings& one, const StampSettings& other) {
  if (one.identity_shift == other.identity_shift) return false;
  return ((one.tag ^ other.tag) & tag_bits(one) & tag_bits(other)) == 0;
}

std::uint32_t stamp_of(const StampSettings& settings, std::uint32_t identity) {
  if (identity < GRANTD_IDENTITY_FIRST) return 0;
  return settings.tag | ((identity & settings.identity_mask) << settings.identity_shift);
}

std::uint32_t identity_of_stamp(const StampSettings& settings, std::uint32_t mark) {
  const std::uint32_t identity = (mark >> settings.identity_shift) & settings.identity_mask;
  return (mark & tag_bits(settings)) == settings.tag && identity >= GRANTD_IDENTITY_FIRST
             ? identity
             : std::uint32_t{GRANTD_IDENTITY_NOBODY};
}

}  // namespace grantd
