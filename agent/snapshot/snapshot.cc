#include "agent/snapshot/snapshot.h"

#include "agent/plan/encode.h"
#include "maps/fixed_text.h"

#include <algorithm>

namespace grantd {

const grantd_policy* policy_in_force(const Snapshot& snapshot, std::uint32_t slot) {
  const auto published = snapshot.published.find(slot);
  if (slot == 0 || published == snapshot.published.end()) return nullptr;
  const auto policy = snapshot.policies.find(published->second);
  return policy == snapshot.policies.end() || policy->second.slot != slot ? nullptr : &policy->second;
}

// The order is the datapath's: see check_policy in bpf/guest.h.
grantd_reason standing(const Snapshot& snapshot, std::uint32_t slot) {
  if (slot == 0 || !snapshot.published.contains(slot)) return GRANTD_REASON_QUARANTINE;
  const grantd_policy* policy = policy_in_force(snapshot, slot);
  if (!policy) return GRANTD_REASON_POLICY_MISSING;
  if (snapshot.clock.boot_ns >= policy->not_after_ns)
    return policy->end_reason == GRANTD_REASON_REVOKED ? GRANTD_REASON_REVOKED : GRANTD_REASON_EXPIRED;
  if (snapshot.clock.boot_ns < policy->not_before_ns) return GRANTD_REASON_NOT_YET_VALID;
  return GRANTD_REASON_ESTABLISHED;
}

std::size_t quarantined_endpoints(const Snapshot& snapshot) {
  return static_cast<std::size_t>(
      std::count_if(snapshot.endpoints.begin(), snapshot.endpoints.end(),
                    [&](const auto& each) { return !reason_passes(standing(snapshot, each.second.slot)); }));
}

grantd_phase phase_now(const Snapshot& snapshot, std::uint32_t slot, const grantd_slotname& name) {
  switch (standing(snapshot, slot)) {
    case GRANTD_REASON_ESTABLISHED:
      return GRANTD_PHASE_ACTIVE;
    case GRANTD_REASON_EXPIRED:
      return GRANTD_PHASE_EXPIRED;
    case GRANTD_REASON_REVOKED:
      return GRANTD_PHASE_REVOKED;
    case GRANTD_REASON_NOT_YET_VALID:
      return GRANTD_PHASE_PENDING;
    default:
      break;
  }
  // Nothing is in force: what was compiled, but never active.
  return name.phase == GRANTD_PHASE_ACTIVE ? GRANTD_PHASE_PENDING : static_cast<grantd_phase>(name.phase);
}

const char* phase_name(grantd_phase phase) {
  switch (phase) {
    case GRANTD_PHASE_ACTIVE:
      return "Active";
    case GRANTD_PHASE_REVOKED:
      return "Revoked";
    case GRANTD_PHASE_EXPIRED:
      return "Expired";
    case GRANTD_PHASE_PENDING:
      break;
  }
  return "Pending";
}

std::uint64_t bucket_level_bytes(const BucketState& state, const grantd_limit& limit, std::uint64_t grant_epoch,
                                 std::uint64_t boot_now_ns) {
  using Wide = unsigned __int128;
  const grantd_bucket& bucket = state.bucket;
  std::uint64_t level = limit.burst_bytes;
  if (bucket.grant_epoch == grant_epoch && bucket.full_at_ns > boot_now_ns && bucket.cost_per_byte > 0) {
    // The debt was reckoned at the cost that stands in the bucket.
    const Wide debt = (static_cast<Wide>(bucket.full_at_ns - boot_now_ns) << GRANTD_COST_SHIFT) / bucket.cost_per_byte;
    level = debt >= level ? 0 : level - static_cast<std::uint64_t>(debt);
  }
  level += state.credit_bytes;
  return level < limit.burst_bytes ? level : limit.burst_bytes;
}

std::string grant_name(const Snapshot& snapshot, std::uint32_t slot) {
  if (slot == 0) return "(quarantine)";
  const auto name = snapshot.slot_names.find(slot);
  return name == snapshot.slot_names.end() ? "(slot " + std::to_string(slot) + ")" : text_of(name->second.grant);
}

std::string guest_name(const Snapshot& snapshot, std::uint32_t endpoint_id) {
  if (endpoint_id == 0) return "(no guest)";
  const auto name = snapshot.guests.find(endpoint_id);
  return name == snapshot.guests.end() ? "(endpoint " + std::to_string(endpoint_id) + ")" : text_of(name->second.guest);
}

std::string identity_name(const Snapshot& snapshot, std::uint32_t identity) {
  if (identity == GRANTD_IDENTITY_NOBODY) return "nobody";
  if (identity == GRANTD_IDENTITY_LOCAL_NODE) return "the local node";
  const auto name = snapshot.identity_names.find(identity);
  if (name == snapshot.identity_names.end()) return "(identity " + std::to_string(identity) + ")";
  const IdentityName bearer = decode_identity_name(name->second);
  if (bearer.kind == IdentityName::Kind::WasGrant) return "guests of " + bearer.name + " (until one lost an address)";
  return (bearer.kind == IdentityName::Kind::Grant ? "guests of " : "realm ") + text_of(name->second.name);
}

const char* bound_name(std::uint32_t kind) {
  constexpr std::array<const char*, GRANTD_BOUNDS> names = {"grants",         "endpoints",  "rules",
                                                            "realm_prefixes", "identities", "flows"};
  return kind < names.size() ? names[kind] : "";
}

const char* direction_name(std::uint32_t direction) { return direction == GRANTD_EGRESS ? "egress" : "ingress"; }

const char* uplink_class_name(std::uint32_t uplink_class) {
  switch (uplink_class) {
    case GRANTD_UPLINK_TAILNET:
      return "tailnet";
    case GRANTD_UPLINK_LAN:
      return "lan";
    case GRANTD_UPLINK_OVERLAY:
      return "overlay";
    case GRANTD_UPLINK_UNTRUSTED:
      return "untrusted";
    default:
      return "destination";
  }
}

const char* reason_label(std::uint32_t reason) {
  switch (reason) {
#define GRANTD_LABEL(number, name, label, verdict, sentence) \
  case number:                                               \
    return label;
    GRANTD_REASONS(GRANTD_LABEL)
#undef GRANTD_LABEL
    default:
      return "";
  }
}

const char* reason_sentence(std::uint32_t reason) {
  switch (reason) {
#define GRANTD_SENTENCE(number, name, label, verdict, sentence) \
  case number:                                                  \
    return sentence;
    GRANTD_REASONS(GRANTD_SENTENCE)
#undef GRANTD_SENTENCE
    default:
      return "";
  }
}

bool reason_passes(std::uint32_t reason) {
  return reason != GRANTD_REASON_FELL_THROUGH && reason < GRANTD_REASON_FIRST_DROP;
}

const char* shaper_mode_name(std::uint32_t mode) { return mode == GRANTD_SHAPER_HTB ? "htb" : "policer"; }

}  // namespace grantd
