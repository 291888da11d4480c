// Whether the gate is told of as missing. Pure.
#pragma once

#include "agent/compile/compiled_policy.h"
#include "agent/metrics/agent_status.h"
#include "maps/result.h"

#include <string>

namespace grantd {

// Five tries, as Retry has them.
inline constexpr BootNanoseconds kGateUnreadFor = 30 * GRANTD_NS_PER_SECOND;

// A look that failed does not make it missing: it stays as it was known last, but not for ever. `kept` is what
// Gate::keep() said, and `stands` what Gate::stands() says since.
inline void tell_whether_missing(const Result<void>& kept, bool stands, BootNanoseconds now, AgentStatus& status) {
  status.gate_missing = kept ? "" : kept.error().message;
  if (kept || !stands) {
    status.gate_unread_since_ns.reset();
    return;
  }
  if (!status.gate_unread_since_ns) status.gate_unread_since_ns = now;
  status.gate_missing = now - *status.gate_unread_since_ns < kGateUnreadFor
                            ? ""
                            : "for 30 s it could not be read whether it stands: " + kept.error().message;
}

}  // namespace grantd
