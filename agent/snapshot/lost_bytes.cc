#include "agent/snapshot/lost_bytes.h"

#include <algorithm>

namespace grantd {

void LostBytes::keep(Snapshot& snapshot) {
  std::erase_if(seen_, [&](const auto& each) { return !snapshot.usage.contains(each.first); });
  for (auto& [endpoint_id, pair] : snapshot.usage) {
    auto& before = seen_[endpoint_id];
    for (std::size_t direction = 0; direction < pair.size(); direction++) {
      UsageState& now = pair[direction];
      Seen& seen = before[direction];
      // Nothing is less than any number.
      if (now.usage.queued_bytes >= seen.queued_bytes) now.lost_bytes = std::max(now.lost_bytes, seen.lost_bytes);
      seen = {now.usage.queued_bytes, now.lost_bytes};
    }
  }
}

}  // namespace grantd
