// Text that others wrote, made safe to show: control characters, ANSI sequences and line breaks of
// a manifest must not reach a terminal, a log or a metric as they are.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace grantd {

inline constexpr std::size_t kShownValueBytes = 120;

// Printable ASCII stays; every other byte becomes \n, \t, \r or \xNN. The result is at most
// `limit` bytes long ("..." marks a cut) and unchanged by a second call with the same limit.
std::string escape_text(std::string_view text, std::size_t limit = kShownValueBytes);

// At most `limit` bytes, which are 3 or more ("..." marks a cut); not cut through the middle of a letter of UTF-8.
std::string cut_text(std::string_view text, std::size_t limit);

}  // namespace grantd
