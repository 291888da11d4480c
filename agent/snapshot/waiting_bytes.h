// What of a guest waits, as the kernel tells it of the classes of the queues. Pure.
#pragma once

#include "agent/shape/backlog.h"
#include "agent/snapshot/snapshot.h"

#include <array>

namespace grantd {

// A class of which the kernel did not tell may hold anything. `queue`: the guest's.
void note_waiting_bytes(const grantd_queue& queue, const Backlogs& backlogs,
                        std::array<UsageState, GRANTD_DIRECTIONS>& usage);

}  // namespace grantd
