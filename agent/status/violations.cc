#include "agent/status/violations.h"

#include <algorithm>

namespace grantd {
namespace {

const char* advice(std::uint32_t reason) {
  switch (reason) {
    case GRANTD_REASON_DESTINATION:
    case GRANTD_REASON_DESTINATION_PORT:
    case GRANTD_REASON_PROTECTED_DESTINATION:
      return "If it is meant to pass, name it in spec.networkPolicy.allowedDestinations of the Grant.";
    case GRANTD_REASON_NOBODY:
    case GRANTD_REASON_NOT_A_PARTY:
    case GRANTD_REASON_PARTY_PORT:
      return "If the sender is a party, look at spec.addresses and spec.uplinks of its Realm, and at "
             "spec.networkPolicy.ingress of the Grant.";
    default:
      return "Look at what the guest does: no Grant allows this.";
  }
}

}  // namespace

bool is_violation(std::uint32_t reason) {
  switch (reason) {
    case GRANTD_REASON_LINK_CHATTER:
    case GRANTD_REASON_RATE_LIMIT:
    case GRANTD_REASON_QUARANTINE:
    case GRANTD_REASON_NOT_YET_VALID:
    case GRANTD_REASON_EXPIRED:
    case GRANTD_REASON_REVOKED:
      return false;
    default:
      return !reason_passes(reason) && *reason_label(reason) != '\0';
  }
}

std::vector<Violation> ViolationWatch::look(const std::string& grant, const std::vector<grantd_counter>& counters) {
  std::vector<Violation> found;
  if (counters.size() < GRANTD_COUNTERS) return found;
  const bool known_before = before_.erase(grant) > 0;
  for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS})
    for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
      if (!is_violation(reason)) continue;
      const Key key{grant, direction, reason};
      const std::uint64_t packets = counters[GRANTD_COUNTER_INDEX(direction, reason)].packets;
      if (packets == 0 && !counted_.contains(key)) continue;
      if (packets < counted_[key]) told_[key] = 0;  // a new table
      counted_[key] = packets;
      if (known_before) told_[key] = packets;
      if (packets > told_[key]) found.push_back({grant, direction, reason, packets - told_[key]});
    }
  return found;
}

void ViolationWatch::told(const Violation& violation) {
  const Key key{violation.grant, violation.direction, violation.reason};
  if (const auto counted = counted_.find(key); counted != counted_.end())
    told_[key] = std::min(counted->second, told_[key] + violation.packets);
}

void ViolationWatch::keep(const std::set<std::string>& grants) {
  const auto gone = [&grants](const auto& each) { return !grants.contains(std::get<0>(each.first)); };
  std::erase_if(counted_, gone);
  std::erase_if(told_, gone);
  std::erase_if(before_, [&grants](const std::string& each) { return !grants.contains(each); });
}

Occasion violation_occasion(const Violation& violation, const std::string& uid, const std::string& node) {
  const std::size_t slash = violation.grant.find('/');
  const std::string name = violation.grant.substr(slash + 1);
  const std::string what = std::string(direction_name(violation.direction)) + ", " + reason_label(violation.reason);
  Occasion occasion;
  occasion.about = {"keystone.io/v1alpha1", "Grant", violation.grant.substr(0, slash), name, uid};
  occasion.reason = "Violations";
  occasion.detail = what;
  occasion.message = std::to_string(violation.packets) + " packets refused on node " + node + " (" + what +
                     "): " + reason_sentence(violation.reason) + " `grantctl drops --grant " + violation.grant +
                     "` on the node counts them, `grantctl monitor` shows where they go. " + advice(violation.reason);
  return occasion;
}

}  // namespace grantd
