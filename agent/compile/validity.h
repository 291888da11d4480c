// From dates to what the datapath compares: boot-time nanoseconds.
#pragma once

#include "agent/compile/node_facts.h"

namespace grantd {

// Sets phase, not_before, not_after, end_reason and quarantine of `compiled`. Returns whether
// allowedDestinations are still open: a revocation closes them at once.
bool judge_validity(const Grant& grant, const TimeFacts& time, CompiledGrant& compiled);

// What a node must remember, so that neither a restart nor an edit of the notice nor a wall clock
// that steps back gives a Grant time again. `remembered` holds what was so far; the result is
// what to remember from now on. Of Grants that are gone, the end of a notice is remembered for a day.
TimeFacts latch(const TimeFacts& remembered, const std::vector<Grant>& grants);

}  // namespace grantd
