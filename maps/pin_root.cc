#include "maps/pin_root.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <filesystem>

namespace grantd {

std::string plain_pin_root(const std::string& path) {
  const std::filesystem::path plain = std::filesystem::path(path).lexically_normal();
  return plain.has_filename() || !plain.has_relative_path() ? plain.string() : plain.parent_path().string();
}

std::string digest_of_pin_root(const std::string& pin_root) {
  std::uint32_t digest = 2166136261U;
  for (const char each : pin_root) digest = (digest ^ static_cast<unsigned char>(each)) * 16777619U;
  std::array<char, 7> digits{};
  std::snprintf(digits.data(), digits.size(), "%06x", digest & 0xffffffU);
  return digits.data();
}

}  // namespace grantd
