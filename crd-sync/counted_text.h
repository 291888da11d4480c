// How many of something, for people.
#pragma once

#include <cstddef>
#include <string>

namespace grantd {

// "1 Grant", "2 Grants"
inline std::string counted_text(std::size_t number, const std::string& what) {
  return std::to_string(number) + " " + what + (number == 1 ? "" : "s");
}

}  // namespace grantd
