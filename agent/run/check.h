// grantd check: the same path as the service up to compile, without root and without a kernel.
#pragma once

#include "agent/settings/settings.h"

#include <iosfwd>

namespace grantd {

// Prints what would be enforced and what is wrong. 0: everything is accepted; 1: something is refused.
int check(const Settings& settings, std::ostream& out, std::ostream& err);

}  // namespace grantd
