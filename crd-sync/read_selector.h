// A Grant's selector. It chooses pods; in standalone mode its form is all that counts.
#pragma once

#include "crd-sync/fields.h"

namespace grantd {

// {namespaceSelector, podSelector}, each a metav1.LabelSelector.
void read_selector(Fields& selector, Grant& grant, ObjectProblems& problems);

}  // namespace grantd
