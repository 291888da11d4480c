// Says on an interface itself, as its alias, which `ip link` shows, that an agent has set it down: no agent need
// remember it, and an interface that gets the same index does not bear it.
#pragma once

#include "maps/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grantd {

// In the network namespace of the caller. Marks one that is up; its old alias stands behind the mark. Whether it bears
// the mark now: one that is gone, or that somebody else has set down, does not.
Result<bool> mark_interface(const std::string& pin_root, std::uint32_t ifindex);

// Gives it the old alias back. One that is gone or not marked is no error.
Result<void> unmark_interface(const std::string& pin_root, std::uint32_t ifindex);

// Those that bear the mark of an agent with this pin root.
Result<std::vector<std::uint32_t>> marked_interfaces(const std::string& pin_root);

}  // namespace grantd
