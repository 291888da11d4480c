// What a person can do about it, in one sentence without its full stop. Pure.
#pragma once

#include "agent/status/gaps.h"
#include "crd-sync/cause.h"

namespace grantd {

const char* advice(Cause cause);  // "" for None
const char* advice(GapKind gap);

}  // namespace grantd
