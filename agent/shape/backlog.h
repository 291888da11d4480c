// What waits in the queues now.
#pragma once

#include "maps/result.h"

#include <cstdint>
#include <map>

namespace grantd {

// Bytes on the wire by minor number of the class, of the queues on this interface; empty where it is gone.
Result<std::map<std::uint32_t, std::uint64_t>> read_backlogs(std::uint32_t queue_ifindex);

}  // namespace grantd
