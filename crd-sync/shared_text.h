// Text that many values have in common, held once: the name of a file stands in each position in it.
#pragma once

#include <compare>
#include <concepts>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace grantd {

// Copies share the text, which never changes.
class SharedText {
 public:
  SharedText() = default;
  SharedText(std::string text) : text_(std::make_shared<const std::string>(std::move(text))) {}
  SharedText(const char* text) : SharedText(std::string(text)) {}

  const std::string& text() const {
    static const std::string kNone;
    return text_ ? *text_ : kNone;
  }

  friend bool operator==(const SharedText& one, const SharedText& other) { return one.text() == other.text(); }
  template <std::convertible_to<std::string_view> Text>
  friend bool operator==(const SharedText& one, const Text& other) {
    return one.text() == std::string_view(other);
  }
  friend auto operator<=>(const SharedText& one, const SharedText& other) { return one.text() <=> other.text(); }

 private:
  std::shared_ptr<const std::string> text_;
};

}  // namespace grantd
