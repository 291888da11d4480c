// Removes every trace: links and filters, pins, and what is remembered on disk.
#pragma once

#include "maps/result.h"

#include <string>

namespace grantd {

// In the network namespace of the caller. What is gone already is no error.
Result<void> uninstall(const std::string& pin_root, const std::string& state_dir);

}  // namespace grantd
