#include "crd-sync/problem.h"

#include "crd-sync/resources.h"

namespace grantd {
namespace {

constexpr std::string_view kCutMark = "...";
constexpr std::size_t kShownPartBytes = 1024;  // of a path, a name or a message

}  // namespace

std::string escape_text(std::string_view text, std::size_t limit) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  std::size_t cut = 0;  // how much of the result fits together with the mark
  for (const char character : text) {
    const auto byte = static_cast<unsigned char>(character);
    if (character == '\n') {
      result += "\\n";
    } else if (character == '\t') {
      result += "\\t";
    } else if (character == '\r') {
      result += "\\r";
    } else if (byte < 0x20 || byte >= 0x7f) {
      result += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 0xf]};
    } else {
      result += character;
    }
    if (result.size() > limit) return result.substr(0, cut).append(kCutMark.substr(0, limit));
    if (result.size() + kCutMark.size() <= limit) cut = result.size();
  }
  return result;
}

std::string cut_text(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return std::string(text);
  std::size_t end = limit - kCutMark.size();
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return std::string(text.substr(0, end)).append(kCutMark);
}

std::string Problem::text() const {
  std::string result;
  const auto add = [&result](std::string_view part) {
    if (part.empty()) return;
    if (!result.empty()) result += ": ";
    result += escape_text(part, kShownPartBytes);
  };
  std::string place = position.file.text();
  if (position.line > 0) place += ":" + std::to_string(position.line);
  if (position.document > 0) place += " (document " + std::to_string(position.document) + ")";
  add(place);
  if (shown() == Severity::Warning) add("warning");
  add(object);
  add(field);
  if (!value.empty() || empty_value) add("\"" + escape_text(value) + "\"");
  add(message);
  if (!accepted.empty()) result += "; accepted: " + escape_text(accepted, kShownPartBytes);
  return result;
}

}  // namespace grantd
