// What ends although not enough is known yet for a whole plan. Pure.
#pragma once

#include "agent/plan/plan.h"
#include "crd-sync/desired_state.h"

#include <vector>

namespace grantd {

// Closes what is in force of Grants that are gone or were revoked meanwhile; `grants` are all that there are. A revoked
// one is closed altogether, as its rules in force cannot be parted: the plan that follows opens it to its parties again
// for as long as its notice lasts. One whose revocation is in force already is left alone.
Plan close_ended(const KernelState& kernel, const std::vector<Grant>& grants);

}  // namespace grantd
