#include "agent/snapshot/waiting_bytes.h"

namespace grantd {

void note_waiting_bytes(const grantd_queue& queue, const Backlogs& backlogs,
                        std::array<UsageState, GRANTD_DIRECTIONS>& usage) {
  for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
    if (queue.class_id[direction] == 0) continue;
    const auto told = backlogs.bytes.find(queue.class_id[direction] & 0xffff);
    usage[direction].waiting_bytes =
        told == backlogs.bytes.end() ? std::optional<std::uint64_t>() : std::optional(told->second);
  }
}

}  // namespace grantd
