// Base64 as kubeconfig files and Secrets carry it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace grantd {

// RFC 4648 with padding; line breaks between are skipped. Nothing where the text is anything else.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace grantd
