// Removes every trace: links and filters, pins, and what is remembered on disk, grantd-cni in the chain.
#pragma once

#include "agent/settings/settings.h"
#include "maps/result.h"

namespace grantd {

// In the network namespace of the caller. What is gone already is no error. First of all what would close a guest that
// starts now, so that none is left closed by nobody.
Result<void> uninstall(const Settings& settings);

}  // namespace grantd
