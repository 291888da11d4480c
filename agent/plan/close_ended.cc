#include "agent/plan/close_ended.h"

#include "maps/fixed_text.h"

#include <map>

namespace grantd {

namespace {

bool is_revoked(const KernelState& kernel, std::uint64_t policy_id) {
  const auto policy = kernel.policies.find(policy_id);
  return policy != kernel.policies.end() && policy->second.end_reason == GRANTD_REASON_REVOKED;
}

}  // namespace

Plan close_ended(const KernelState& kernel, const std::vector<Grant>& grants) {
  std::map<std::string, bool> revoked;
  for (const Grant& each : grants) revoked[each.key()] = each.revoked;
  Plan plan;
  for (const auto& [slot, policy_id] : kernel.published) {
    const auto name = kernel.slot_names.find(slot);
    const auto known = name == kernel.slot_names.end() ? revoked.end() : revoked.find(text_of(name->second.grant));
    if (known != revoked.end() && (!known->second || is_revoked(kernel, policy_id))) continue;
    plan.steps.push_back(closing(slot, slot_subject(kernel, slot)));
  }
  return plan;
}

}  // namespace grantd
