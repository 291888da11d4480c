#include "crd-sync/names.h"

#include <algorithm>

namespace grantd {
namespace {

bool is_lower_or_digit(char character) {
  return (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9');
}

bool is_letter_or_digit(char character) {
  return is_lower_or_digit(character) || (character >= 'A' && character <= 'Z');
}

bool is_short_name(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_letter_or_digit(text.front()) && is_letter_or_digit(text.back()) &&
         std::all_of(text.begin(), text.end(), [](char character) {
           return is_letter_or_digit(character) || character == '-' || character == '_' || character == '.';
         });
}

}  // namespace

bool is_dns_label(std::string_view text) {
  return !text.empty() && text.size() <= 63 && is_lower_or_digit(text.front()) && is_lower_or_digit(text.back()) &&
         std::all_of(text.begin(), text.end(),
                     [](char character) { return is_lower_or_digit(character) || character == '-'; });
}

bool is_left_behind(std::string_view file_name) {
  if (file_name.starts_with('.') || file_name.starts_with('#')) return true;
  for (const std::string_view ending :
       {"~",         ".bak",       ".old",      ".orig",     ".rej",     ".save",    ".swp",
        ".swo",      ".tmp",       ".new",      ".rpmsave",  ".rpmnew",  ".rpmorig", ".dpkg-old",
        ".dpkg-new", ".dpkg-dist", ".dpkg-bak", ".dpkg-tmp", ".ucf-old", ".ucf-new", ".ucf-dist"})
    if (file_name.ends_with(ending)) return true;
  return false;
}

bool is_dns_subdomain(std::string_view text) {
  if (text.size() > 253) return false;
  while (true) {
    const std::size_t dot = text.find('.');
    if (!is_dns_label(text.substr(0, dot))) return false;
    if (dot == std::string_view::npos) return true;
    text.remove_prefix(dot + 1);
  }
}

bool is_qualified_name(std::string_view text) {
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return is_short_name(text);
  return is_dns_subdomain(text.substr(0, slash)) && is_short_name(text.substr(slash + 1));
}

bool is_label_value(std::string_view text) { return text.empty() || is_short_name(text); }

bool is_interface_name(std::string_view text) {
  return !text.empty() && text.size() <= 15 && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(), [](char character) {
           return character > ' ' && character < 0x7f && character != '/' && character != ':';
         });
}

}  // namespace grantd
