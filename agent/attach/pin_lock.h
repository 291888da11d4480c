// One grantd at a pin root: two would take each other's programs away.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <string>

namespace grantd {

// Holds the directory until the descriptor is closed, which the kernel does for a process that dies. Waits a
// moment for one that is on its way out; then another grantd runs, and that is the error.
Result<Descriptor> lock_pin_root(const std::string& pin_root);

}  // namespace grantd
