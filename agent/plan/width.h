// Whether what is to be in force opens at least what is in force. Pure; where it cannot be told, it does not.
#pragma once

#include "agent/plan/operations.h"

namespace grantd {

// Apart from their rules. Flows that are put in doubt are another question.
bool opens_as_much(const grantd_policy& wanted, const grantd_policy& current, BootNanoseconds now);
// Of one guest: under the same Grant, with every address that it has.
bool opens_as_much(const grantd_endpoint& wanted, const grantd_endpoint& current);
// The rules of one rules_id each; which they are numbered by does not matter.
bool opens_as_much(const operation::PutRules& wanted, const operation::PutRules& current);

}  // namespace grantd
