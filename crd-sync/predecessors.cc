#include "crd-sync/predecessors.h"

#include <utility>

namespace grantd {

void Predecessors::tell(std::vector<Grant>& grants) {
  for (Grant& grant : grants) {
    if (grant.made_anew) uids_.try_emplace(grant.key(), std::nullopt);
    const auto in_force = uids_.find(grant.key());
    if (in_force != uids_.end()) grant.made_anew = in_force->second != grant.head.uid;
  }
}

void Predecessors::carried_out(std::vector<Grant>& grants, const IsSo& is_refused, const IsSo& is_due) {
  std::map<std::string, std::optional<std::string>> uids;
  for (const auto& [key, uid] : uids_)  // a deleted one, too
    if (is_due(key)) uids.emplace(key, uid);
  for (Grant& grant : grants) {
    const std::string key = grant.key();
    if (is_due(key)) continue;
    grant.made_anew = grant.made_anew && is_refused(key);
    uids.emplace(key, grant.made_anew ? std::nullopt : std::optional(grant.head.uid));
  }
  uids_ = std::move(uids);
}

}  // namespace grantd
