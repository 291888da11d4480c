#include "crd-sync/admission.h"

#include <algorithm>

namespace grantd {

Admitted admit(const std::vector<std::shared_ptr<const ReadResult>>& reads, const LastGood&) {
  Admitted result;
  for (const auto& read : reads) {
    for (const ManifestObject& object : read->objects) {
      if (const auto* realm = std::get_if<Realm>(&object.value)) result.desired.realms.push_back(*realm);
      if (const auto* grant = std::get_if<Grant>(&object.value)) result.desired.grants.push_back(*grant);
      if (const auto* workload = std::get_if<Workload>(&object.value)) result.desired.workloads.push_back(*workload);
    }
    result.desired.problems.insert(result.desired.problems.end(), read->problems.begin(), read->problems.end());
  }
  std::ranges::sort(result.desired.realms, {}, &Realm::name);
  std::ranges::sort(result.desired.grants, {}, &Grant::key);
  std::ranges::sort(result.desired.workloads, {}, &Workload::name);
  return result;
}

}  // namespace grantd
