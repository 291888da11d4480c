// The forms of names that Kubernetes and the kernel accept.
#pragma once

#include <string_view>

namespace grantd {

bool is_dns_label(std::string_view text);      // RFC 1123 label: a-z 0-9 -, at most 63
bool is_dns_subdomain(std::string_view text);  // labels as above joined by dots, at most 253
// [PREFIX/]NAME of a label or a resource: letters, digits, '-', '_', '.'; NAME at most 63.
bool is_qualified_name(std::string_view text);
bool is_label_value(std::string_view text);  // "" or like NAME above
// Hidden, or what editors and package managers leave beside a file: nobody takes it for the file itself.
bool is_left_behind(std::string_view file_name);
bool is_interface_name(std::string_view text);  // 1 to 15 bytes, as the kernel accepts them

inline constexpr std::string_view kAcceptedDnsSubdomain =
    "lower-case letters, digits and '-', in parts of at most 63 joined by '.', each beginning and ending with a letter "
    "or digit, at most 253 in all";
inline constexpr std::string_view kAcceptedDnsLabel =
    "lower-case letters, digits and '-', beginning and ending with a letter or digit, at most 63";

}  // namespace grantd
