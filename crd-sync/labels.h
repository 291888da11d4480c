// Labels of a pod or a namespace, in one piece of memory: there may be thousands of pods with a dozen each.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grantd {

class Labels {
 public:
  using Label = std::pair<std::string_view, std::string_view>;  // key, value

  Labels() = default;
  Labels(std::initializer_list<Label> all) : Labels(std::vector<Label>(all)) {}
  // Each key once. Two are equal that have the same ones in the same order.
  explicit Labels(const std::vector<Label>& all);

  bool empty() const { return text_.empty(); }
  std::optional<std::string_view> find(std::string_view key) const;
  bool contains(std::string_view key) const { return find(key).has_value(); }
  // Of memory, beside the object itself.
  std::size_t bytes() const { return text_.size(); }

  bool operator==(const Labels&) const = default;

 private:
  std::string text_;  // of each label the lengths of key and value, then both
};

}  // namespace grantd
