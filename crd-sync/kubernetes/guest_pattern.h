// The names of guests' namespaces, a node's setting: one part of the name is the realm.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace grantd {

inline constexpr std::string_view kAcceptedGuestNamespaces =
    "a namespace's name in which one * stands for the realm, and more than that *";

bool is_guest_pattern(std::string_view pattern);

// What * stands for in a name that matches; nothing for all others.
std::optional<std::string> realm_of_namespace(std::string_view pattern, std::string_view name);

}  // namespace grantd
