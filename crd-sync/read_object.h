// The specs of the three resources, each validated by itself. Errors are counted in the problems;
// what is returned counts only where there are none.
#pragma once

#include "crd-sync/fields.h"
#include "crd-sync/resources.h"

namespace grantd {

// Name, namespace and position are the caller's to set.
Realm read_realm(Fields& spec, ObjectProblems& problems);
Grant read_grant(Fields& spec, ObjectProblems& problems);
Workload read_workload(Fields& spec, ObjectProblems& problems);

inline constexpr std::string_view kDefaultNamespace = "keystone-system";

}  // namespace grantd
