// One grantd at a pin root, because two would take each other's programs away, and at a state directory, because each
// would forget what the other has to remember; and grantd-cni beside it.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <chrono>
#include <string>

namespace grantd {

// Makes the pin root and its parts where they are not there, and holds it until the descriptor is closed, which the
// kernel does for a process that dies. Waits a moment for one that is on its way out, and may take the root away with
// it; then another grantd runs, and that is the error, of number EWOULDBLOCK.
Result<Descriptor> lock_pin_root(const std::string& pin_root);

// The same of the directory where it keeps what must outlive it. Made for root alone where it is not there.
Result<Descriptor> lock_state_dir(const std::string& state_dir);

// Whether a grantd holds it now.
Result<bool> is_pin_root_held(const std::string& pin_root);

// For as long as the descriptor is open nobody else changes what is pinned in this directory: else a pin that was
// found to be of a gone interface may be another's by the time it is removed, and that one would be open. Waits for
// `patience`; then an error of number EWOULDBLOCK. An invalid descriptor where there is no such directory.
Result<Descriptor> lock_links(const std::string& directory, std::chrono::milliseconds patience);

}  // namespace grantd
