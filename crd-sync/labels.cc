#include "crd-sync/labels.h"

#include <cstdint>
#include <cstring>

namespace grantd {
namespace {

// What is longer than that is no document that is read.
struct Lengths {
  std::uint32_t key, value;
};

}  // namespace

Labels::Labels(const std::vector<Label>& all) {
  std::size_t bytes = 0;
  for (const auto& [key, value] : all) bytes += sizeof(Lengths) + key.size() + value.size();
  text_.reserve(bytes);
  for (const auto& [key, value] : all) {
    const Lengths lengths{static_cast<std::uint32_t>(key.size()), static_cast<std::uint32_t>(value.size())};
    char raw[sizeof lengths];
    std::memcpy(raw, &lengths, sizeof lengths);
    text_.append(raw, sizeof raw).append(key).append(value);
  }
}

std::optional<std::string_view> Labels::find(std::string_view key) const {
  std::string_view rest = text_;
  while (!rest.empty()) {
    Lengths lengths;
    std::memcpy(&lengths, rest.data(), sizeof lengths);
    rest.remove_prefix(sizeof lengths);
    if (rest.substr(0, lengths.key) == key) return rest.substr(lengths.key, lengths.value);
    rest.remove_prefix(std::size_t{lengths.key} + lengths.value);
  }
  return std::nullopt;
}

}  // namespace grantd
