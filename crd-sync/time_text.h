// Points in time as text: RFC 3339.
#pragma once

#include "crd-sync/resources.h"
#include "maps/result.h"

#include <string>
#include <string_view>

namespace grantd {

// YYYY-MM-DDTHH:MM:SS[.FRACTION](Z|+HH:MM|-HH:MM), as Kubernetes takes it: capital T and Z, no
// leap seconds. Years 1970 to 2261, which is what nanoseconds can hold; what is in 1970 by its own zone and before it
// in UTC counts as its first moment.
Result<WallTime> parse_time(std::string_view text);

std::string time_text(WallTime time);  // in UTC, to the second; a fraction only where there is one

inline constexpr std::string_view kAcceptedTime = "a time as in RFC 3339, like 2026-01-31T12:00:00Z, from 1970 to 2261";

}  // namespace grantd
