// metav1.LabelSelector: which objects it chooses, by their labels. Pure.
#pragma once

#include "crd-sync/labels.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grantd {

struct LabelRequirement {
  enum class Operator : std::uint8_t { In, NotIn, Exists, DoesNotExist };
  std::string key;
  Operator operation = Operator::Exists;
  std::vector<std::string> values;  // of In and NotIn
};

// All of them must hold; none: everything is chosen.
using LabelSelector = std::vector<LabelRequirement>;

bool selects(const LabelSelector& selector, const Labels& labels);

}  // namespace grantd
