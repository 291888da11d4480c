#include "agent/ctl/view/common.h"
#include "agent/ctl/view/views.h"

#include "maps/fixed_text.h"

#include <algorithm>

namespace grantd {

bool Filter::accepts_grant(const std::string& name) const {
  if (grant.empty() || grant == name) return true;
  const std::size_t slash = name.rfind('/');
  return slash != std::string::npos && name.compare(slash + 1, std::string::npos, grant) == 0;
}

Result<void> Filter::names_known(const Snapshot& snapshot, const Refusals& refusals) const {
  std::set<std::string> grants, guests;
  for (const auto& [slot, name] : snapshot.slot_names) grants.insert(grant_name(snapshot, slot));
  grants.insert(grant_name(snapshot, 0));  // quarantine is counted as a Grant is
  for (const auto& [id, names] : snapshot.guests) guests.insert(text_of(names.guest));
  for (const Refusal& each : refusals.refused) {
    if (each.kind == Refusal::Kind::Grant) grants.insert(each.name);
    if (each.kind == Refusal::Kind::Guest) guests.insert(each.name);
  }
  if (std::none_of(grants.begin(), grants.end(), [this](const std::string& name) { return accepts_grant(name); }))
    return not_known("Grant " + grant, grants);
  if (!guest.empty() && !guests.contains(guest)) return not_known("guest " + guest, guests);
  return {};
}

Error not_known(const std::string& what, const std::set<std::string>& known) {
  const std::string names = joined({known.begin(), known.end()}, ", ");
  return Error{what + " is not known to this node; known: " + (names.empty() ? "none" : names), 0};
}

}  // namespace grantd
