// NodeStatus to and from what the API server keeps.
#pragma once

#include "crd-sync/status/node_status.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <string>

namespace grantd {

// etcd takes 1.5 MiB. What the server writes beside each field to know its owner is as long again.
inline constexpr std::size_t kMostStatusBytes = 512U << 10;
inline constexpr std::size_t kMostGuestsListed = 256;

// The object with its status, for server-side apply. What does not fit is left out: of the guests those that come
// last by name; of the Grants first those that are as they should be and have no guest here, then those that are as
// they should be. summary counts all of them, and how many are left out; then message says so.
std::string status_text(const NodeStatus& status, std::size_t most_bytes = kMostStatusBytes);

// What an object of the server said before: Grants with their generation, policy and conditions. What is not as
// status_text() writes it is left out.
NodeStatus parse_status(const nlohmann::json& object);

}  // namespace grantd
