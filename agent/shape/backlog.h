// What waits in the queues now.
#pragma once

#include "maps/result.h"

#include <cstdint>
#include <map>

namespace grantd {

struct Backlogs {
  std::map<std::uint32_t, std::uint64_t> bytes;  // on the wire, by minor number of the class
  bool whole = true;                             // false: queues came or went meanwhile, and some may be missing
};

// Of the queues on this interface; empty where it is gone.
Result<Backlogs> read_backlogs(std::uint32_t queue_ifindex);

}  // namespace grantd
