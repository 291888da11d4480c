// Sets an interface down or up: the last means to keep a guest closed whose program cannot be attached.
#pragma once

#include "maps/result.h"

#include <cstdint>

namespace grantd {

// In the network namespace of the caller. An interface that is gone is no error.
Result<void> switch_interface(std::uint32_t ifindex, bool up);

}  // namespace grantd
