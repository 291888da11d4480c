// Where an element of a list stands, as problems name it.
#pragma once

#include <cstddef>
#include <string>

namespace grantd {

// "spec.addresses" and 2: "spec.addresses[2]".
inline std::string element_path(const std::string& list, std::size_t index) {
  return list + "[" + std::to_string(index) + "]";
}

}  // namespace grantd
