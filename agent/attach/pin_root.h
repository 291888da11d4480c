// The directory below which everything of ours is pinned.
#pragma once

#include "maps/result.h"

#include <string>

namespace grantd {

// Makes it and its parts, for root alone, where they are not there: after a boot the agent or the CNI plugin is the
// first, whichever comes. An error where no BPF file system is mounted.
Result<void> make_pin_root(const std::string& pin_root);

}  // namespace grantd
