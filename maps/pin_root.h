// Where maps, programs and links are pinned, and what is named after that.
#pragma once

#include <string>

namespace grantd {

inline constexpr const char* kDefaultPinRoot = "/sys/fs/bpf/grantd";

// One spelling of an absolute path, as names hang on it: "/a//b/../c/" is "/a/c". Symbolic links are left.
std::string plain_pin_root(const std::string& path);

// Six hexadecimal digits (FNV-1a), by which names tell one pin root from another.
std::string digest_of_pin_root(const std::string& pin_root);

}  // namespace grantd
