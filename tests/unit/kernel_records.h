// What stands in a kernel of memory alone, as grantctl verify reads it.
#pragma once

#include "agent/ctl/verify/differences.h"
#include "agent/plan/encode.h"
#include "tests/unit/model_kernel.h"

namespace grantd::model {

inline Records records_of(const ModelKernel& kernel) {
  Records records;
  records.state = kernel.state();
  for (const auto& [rules_id, put] : kernel.all_rules()) {
    if (!records.state.rule_sets.contains(rules_id)) continue;
    for (const auto& [key, ranges] : put.rules)
      records.rules[rules_id][{key.direction, key.family, decode_rule_prefix(key)}] = ranges;
    for (const auto& [key, ranges] : put.identity_rules)
      records.identity_rules[rules_id][{key.identity, key.direction}] = ranges;
  }
  return records;
}

}  // namespace grantd::model
