#include "crd-sync/label_selector.h"

#include <algorithm>

namespace grantd {
namespace {

bool holds(const LabelRequirement& requirement, const Labels& labels) {
  using Operator = LabelRequirement::Operator;
  const auto label = labels.find(requirement.key);
  const bool there = label.has_value();
  const auto is_among = [&] {
    return there && std::find(requirement.values.begin(), requirement.values.end(), *label) != requirement.values.end();
  };
  switch (requirement.operation) {
    case Operator::In:
      return is_among();
    case Operator::NotIn:
      return !is_among();  // as Kubernetes has it: also without that label
    case Operator::Exists:
      return there;
    case Operator::DoesNotExist:
      return !there;
  }
  return false;
}

}  // namespace

bool selects(const LabelSelector& selector, const Labels& labels) {
  return std::all_of(selector.begin(), selector.end(),
                     [&](const LabelRequirement& each) { return holds(each, labels); });
}

}  // namespace grantd
