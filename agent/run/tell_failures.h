// What of a plan could not be carried out, for the log.
#pragma once

#include "agent/apply/applier.h"

namespace grantd {

// `state`: after the apply, for the names.
void tell_failures(const ApplyReport& report, const KernelState& state);

}  // namespace grantd
