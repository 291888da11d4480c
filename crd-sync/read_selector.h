// A Grant's selector. It chooses Pods, so in standalone mode its form is all that counts.
#pragma once

#include "crd-sync/fields.h"

namespace grantd {

// {namespaceSelector, podSelector}, each a metav1.LabelSelector.
void check_selector(Fields& selector, ObjectProblems& problems);

}  // namespace grantd
