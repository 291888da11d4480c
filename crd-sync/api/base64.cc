#include "crd-sync/api/base64.h"

#include <cstdint>

namespace grantd {

std::optional<std::string> decode_base64(std::string_view text) {
  static constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t held = 0;
  int digits = 0, padding = 0;
  for (const char character : text) {
    if (character == '\n' || character == '\r') continue;
    const bool pad = character == '=';
    const std::size_t value = pad ? 0 : kDigits.find(character);
    if (value == kDigits.npos || (padding > 0 && !pad)) return std::nullopt;
    padding += pad ? 1 : 0;
    held = held << 6 | static_cast<std::uint32_t>(value);
    if (++digits < 4) continue;
    if (padding > 2) return std::nullopt;
    for (int byte = 0; byte < 3 - padding; ++byte) bytes += static_cast<char>(held >> (16 - 8 * byte) & 0xff);
    held = 0;
    digits = 0;
  }
  if (digits != 0) return std::nullopt;
  return bytes;
}

}  // namespace grantd
