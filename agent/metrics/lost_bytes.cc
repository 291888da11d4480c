#include "agent/metrics/lost_bytes.h"

namespace grantd {

void LostBytes::keep(Snapshot& snapshot) {
  std::erase_if(most_, [&](const auto& each) { return !snapshot.usage.contains(each.first); });
  for (auto& [endpoint_id, pair] : snapshot.usage) {
    auto& most = most_[endpoint_id];
    for (std::size_t direction = 0; direction < pair.size(); direction++) {
      pair[direction].lost_at_least_bytes = most[direction];
      most[direction] = pair[direction].lost_bytes();
    }
  }
}

}  // namespace grantd
