// What queues had no room for, as a counter, which never goes down.
#pragma once

#include "agent/snapshot/snapshot.h"

#include <array>
#include <cstdint>
#include <map>

namespace grantd {

// What is lost is what neither came back from a queue nor waits there, and the three are not read at one moment:
// packets under way between them are among it in one look and not in the next. So it keeps the most of each guest.
class LostBytes {
 public:
  // Raises what `snapshot` says to what an earlier one said. Forgets endpoints that are gone; their numbers never come
  // back.
  void keep(Snapshot& snapshot);

 private:
  std::map<std::uint32_t, std::array<std::uint64_t, GRANTD_DIRECTIONS>> most_;  // by endpoint_id
};

}  // namespace grantd
