// metav1.LabelSelector: which objects it chooses, by their labels. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace grantd {

using Labels = std::map<std::string, std::string>;

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
