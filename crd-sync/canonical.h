// One form for what an object was read from: to keep it, to compare it, to tell its specs apart.
#pragma once

#include "crd-sync/yaml_tree.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace grantd {

// JSON, which reads back as the same tree: line breaks stand so that each value keeps its line,
// counted from the root's.
std::string tree_text(const YamlNode& root);

// Equal for specs that say the same: the order of fields, lines, comments, quotes and how a whole
// number is written do not count, the order of lists does.
std::string spec_hash(const YamlNode& spec);

std::uint64_t hash_text(std::string_view text);  // FNV-1a; against accidents, not against intent

std::string hash_digits(std::uint64_t hash);  // 16 hexadecimal digits

std::string quoted_text(std::string_view text);  // as a JSON string that YAML reads alike

}  // namespace grantd
