// YAML (and with it JSON) as a plain tree with the lines it was written on. Hostile text is met
// here: sizes, depth and what aliases expand to are bounded, and nothing of yaml-cpp gets out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

struct YamlKey {
  std::string text;
  int line = 0;
};

struct YamlNode {
  enum class Type : std::uint8_t { Null, Scalar, Sequence, Map };
  Type type = Type::Null;
  bool quoted = false;          // Scalar: in quotes or a block, thus text whatever it looks like
  int line = 0;                 // 1-based
  std::string text;             // Scalar
  std::vector<YamlKey> keys;    // Map: as written, duplicates too; beside `items`
  std::vector<YamlNode> items;  // Sequence: its elements; Map: its values

  const YamlNode* find(std::string_view key) const;  // Map: the first value of that key; else nullptr
};

// What a scalar means. Words that only YAML 1.1 takes for booleans (yes, on) count as such, so
// that a manifest means the same to every reader.
enum class ScalarMeaning : std::uint8_t { Text, Integer, Number, Boolean };
ScalarMeaning scalar_meaning(const YamlNode& scalar);

struct YamlLimits {
  std::size_t bytes = 4U << 20;  // of the whole text
  std::size_t values = 500'000;  // of one document, counted again for each alias
  int depth = 64;
};

struct YamlError {
  int document = 0;  // 1-based; 0 where unknown
  int line = 0;      // 1-based; 0 where unknown
  std::string message;
  std::string accepted;
};

// Hands over each document that is not empty, with its number, in order. What came before an error
// has been handed over.
std::optional<YamlError> read_yaml(std::string_view text, const YamlLimits& limits,
                                   const std::function<void(int document, YamlNode&& root)>& take);

}  // namespace grantd
