// Whole numbers without quotes, however they are written: to JSON 1, 1.0 and 1e0 are the same.
#pragma once

#include "crd-sync/yaml_tree.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace grantd {

// A number that YAML 1.1 takes for octal, and 1.2 does not: 010.
bool leads_with_zero(std::string_view number);

// What a scalar is as a whole number, at most 2^63 - 2; nothing where it is none, or leads with a zero.
std::optional<std::uint64_t> whole_number(const YamlNode& scalar);

}  // namespace grantd
