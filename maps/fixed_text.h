// Text in the fixed fields of records: cut to fit, always terminated.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace grantd {

// The field beyond the text keeps what it held: start from a record of zeros.
template <std::size_t N>
void copy_text(char (&to)[N], std::string_view text) {
  const std::size_t count = text.size() < N - 1 ? text.size() : N - 1;
  text.copy(to, count);
  to[count] = '\0';
}

template <std::size_t N>
std::string text_of(const char (&from)[N]) {
  std::size_t length = 0;
  while (length < N && from[length]) length++;
  return std::string(from, length);
}

}  // namespace grantd
