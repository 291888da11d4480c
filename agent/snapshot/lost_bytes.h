// What queues had no room for, as a counter, which never goes down.
#pragma once

#include "agent/snapshot/snapshot.h"

#include <array>
#include <cstdint>
#include <map>
#include <optional>

namespace grantd {

// A look at queues that are in use shows too little (UsageState), the next one maybe less. So this keeps the most that
// was seen of each guest. One that was made anew, with its process, may begin lower by what was under way.
class LostBytes {
 public:
  // Raises what `snapshot` says to what an earlier one said. Forgets a guest whose counters are gone or began anew.
  void keep(Snapshot& snapshot);

 private:
  struct Seen {
    std::uint64_t queued_bytes = 0;
    std::optional<std::uint64_t> lost_bytes;
  };
  std::map<std::uint32_t, std::array<Seen, GRANTD_DIRECTIONS>> seen_;  // by endpoint_id
};

}  // namespace grantd
