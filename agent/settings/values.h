// The values of settings, from text. Each check returns what is wrong, with the value and what is accepted;
// "" for nothing. Each reading is for text that has passed its check.
#pragma once

#include "agent/compile/node_facts.h"

#include <cstdint>
#include <string>

namespace grantd {

std::string check_number(const std::string& text, unsigned least, unsigned most);
std::string check_choice(const std::string& text);  // true or false

std::string check_uplink(const std::string& text);  // INTERFACE=CLASS
UplinkRule read_uplink(const std::string& text);

std::string check_prefix(const std::string& text);
std::string check_listen(const std::string& text);  // ADDRESS:PORT or none
std::string check_absolute_path(const std::string& text);
std::string check_pin_root(const std::string& text);    // an absolute path, short enough for the mark of an interface
std::string check_cri_socket(const std::string& text);  // an absolute path, auto or none
std::string check_node_name(const std::string& text);
std::string check_guest_namespaces(const std::string& text);  // a pattern with one *

std::string check_stamp_mask(const std::string& text);  // 0x... or decimal
std::uint32_t read_stamp_mask(const std::string& text);

}  // namespace grantd
