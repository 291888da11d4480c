// One reader of grantd_event at a time: two would share the events (decision 16), and each would miss what the other
// has.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <string>

namespace grantd {

// Held until the descriptor is closed, which the kernel does for a process that dies. Fails at once where another
// reader holds it.
Result<Descriptor> lock_events(const std::string& pin_root);

}  // namespace grantd
