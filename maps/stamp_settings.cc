#include "maps/stamp_settings.h"

#include <cstdio>

namespace grantd {

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
  settings.tag = GRANTD_STAMP_TAG & mask & ~(settings.identity_mask << settings.identity_shift);
  if (settings.tag == 0)
    return Error{"stamp mask " + hexadecimal(mask) + ": leaves no bit for the tag " + hexadecimal(GRANTD_STAMP_TAG) +
                     "; accepted: such as " + hexadecimal(GRANTD_STAMP_MASK_DEFAULT),
                 0};
  return settings;
}

std::uint32_t stamp_of(const StampSettings& settings, std::uint32_t identity) {
  if (identity < GRANTD_IDENTITY_FIRST) return 0;
  return settings.tag | ((identity & settings.identity_mask) << settings.identity_shift);
}

std::uint32_t identity_of_stamp(const StampSettings& settings, std::uint32_t mark) {
  const std::uint32_t identity = (mark >> settings.identity_shift) & settings.identity_mask;
  const std::uint32_t tag = mark & settings.mask & ~(settings.identity_mask << settings.identity_shift);
  return tag == settings.tag && identity >= GRANTD_IDENTITY_FIRST ? identity : std::uint32_t{GRANTD_IDENTITY_NOBODY};
}

}  // namespace grantd
