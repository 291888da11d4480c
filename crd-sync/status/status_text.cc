#include "crd-sync/status/status_text.h"

#include "crd-sync/api/json.h"
#include "crd-sync/problem.h"
#include "crd-sync/time_text.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace grantd {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostMessageBytes = 1024;  // far below the schema's bound
constexpr std::size_t kMostWhyBytes = 700;
constexpr std::array<std::pair<ConditionState, const char*>, 3> kStates = {
    {{ConditionState::False, "False"}, {ConditionState::True, "True"}, {ConditionState::Unknown, "Unknown"}}};

std::string seconds_text(WallTime time) { return time_text(std::chrono::floor<std::chrono::seconds>(time)); }

const char* state_text(ConditionState state) {
  for (const auto& [each, text] : kStates)
    if (each == state) return text;
  return "Unknown";
}

std::string message_text(const std::string& message) { return cut_text(message, kMostMessageBytes); }

std::pair<std::string, std::string> split(const std::string& key) {
  const std::size_t slash = key.find('/');
  if (slash == std::string::npos) return {"", key};
  return {key.substr(0, slash), key.substr(slash + 1)};
}

Json json_of(const Condition& condition) {
  Json json = {{"type", condition.type},
               {"status", state_text(condition.state)},
               {"reason", condition.reason},
               {"message", message_text(condition.message)},
               {"lastTransitionTime", seconds_text(condition.since)}};
  if (condition.generation > 0) json["observedGeneration"] = condition.generation;
  return json;
}

Json json_of(const PolicyStatus& policy) {
  Json json = {{"phase", policy.phase}, {"rules", policy.rules}};
  const auto limit = [&json](const char* rate, std::uint64_t bps, const char* burst, std::uint64_t bytes) {
    if (bps == 0) return;
    json[rate] = bps;
    json[burst] = bytes;
  };
  limit("egressBitsPerSecond", policy.egress_bps, "egressBurstBytes", policy.egress_burst_bytes);
  limit("ingressBitsPerSecond", policy.ingress_bps, "ingressBurstBytes", policy.ingress_burst_bytes);
  if (policy.not_before) json["notBefore"] = seconds_text(*policy.not_before);
  if (policy.not_after) json["notAfter"] = seconds_text(*policy.not_after);
  return json;
}

Json json_of(const GrantStatus& grant) {
  const auto [space, name] = split(grant.key);
  Json json = {{"namespace", space},          {"name", name},
               {"policyID", grant.policy_id}, {"endpoints", grant.endpoints},
               {"enforced", grant.enforced},  {"message", message_text(grant.message)},
               {"conditions", Json::array()}};
  if (grant.generation > 0) json["observedGeneration"] = grant.generation;
  for (const Condition& each : grant.conditions) json["conditions"].push_back(json_of(each));
  if (grant.policy) json["policy"] = json_of(*grant.policy);
  return json;
}

// What to do comes last, and is there however long the rest is.
std::string why_text(const GuestStatus& guest) {
  if (guest.advice.empty()) return message_text(guest.why);
  return cut_text(guest.why, kMostWhyBytes) + ". " + cut_text(guest.advice, kMostMessageBytes - kMostWhyBytes - 2);
}

Json json_of(const std::vector<GuestStatus>& guests) {
  Json json = Json::array();
  for (std::size_t index = 0; index < std::min(guests.size(), kMostGuestsListed); ++index)
    json.push_back({{"guest", guests[index].guest}, {"why", why_text(guests[index])}});
  return json;
}

bool is_well(const GrantStatus& grant) {
  return grant.enforced && std::all_of(grant.conditions.begin(), grant.conditions.end(),
                                       [](const Condition& each) { return each.state == ConditionState::True; });
}

// What is left out last comes first.
std::vector<const GrantStatus*> by_importance(const std::vector<GrantStatus>& grants) {
  std::vector<const GrantStatus*> order;
  for (const GrantStatus& each : grants) order.push_back(&each);
  const auto rank = [](const GrantStatus* grant) { return !is_well(*grant) ? 0 : grant->endpoints > 0 ? 1 : 2; };
  std::stable_sort(order.begin(), order.end(),
                   [&rank](const GrantStatus* one, const GrantStatus* other) { return rank(one) < rank(other); });
  return order;
}

std::size_t unlisted(const std::vector<GuestStatus>& guests) {
  return guests.size() > kMostGuestsListed ? guests.size() - kMostGuestsListed : 0;
}

// Numbers that a later version may write in another way.
template <typename Number>
Number number_of(const Json& json, const char* name) {
  const Json* member = json_member(json, name);
  return member != nullptr && member->is_number_integer() && *member >= 0 ? member->get<Number>() : 0;
}

const Json* list_of(const Json& json, const char* name) {
  const Json* member = json_member(json, name);
  return member != nullptr && member->is_array() ? member : nullptr;
}

std::vector<Condition> parse_conditions(const Json& grant) {
  std::vector<Condition> conditions;
  const Json* list = list_of(grant, "conditions");
  if (list == nullptr) return conditions;
  for (const Json& each : *list) {
    const auto since = parse_time(json_text(each, "lastTransitionTime"));
    const std::string text = json_text(each, "status");
    const auto* state =
        std::find_if(kStates.begin(), kStates.end(), [&text](const auto& known) { return known.second == text; });
    if (!since || state == kStates.end()) continue;
    conditions.push_back({json_text(each, "type"), state->first, json_text(each, "reason"), json_text(each, "message"),
                          number_of<std::int64_t>(each, "observedGeneration"), since.value()});
  }
  return conditions;
}

}  // namespace

std::string status_text(const NodeStatus& status, std::size_t most_bytes) {
  std::size_t enforced = 0, left_out = unlisted(status.quarantined) + unlisted(status.not_enforced);
  for (const GrantStatus& each : status.grants) enforced += each.enforced ? 1 : 0;
  Json object = {
      {"apiVersion", "keystone.io/v1alpha1"}, {"kind", "GrantNodeStatus"}, {"metadata", {{"name", status.node}}}};
  Json& body = object["status"] = {{"agentVersion", status.version},
                                   {"quarantined", json_of(status.quarantined)},
                                   {"notEnforced", json_of(status.not_enforced)}};
  if (!status.attach.empty()) body["attach"] = status.attach;
  body["summary"] = {{"grants", status.grants.size()},
                     {"enforced", enforced},
                     {"endpoints", status.endpoints},
                     {"quarantined", status.quarantined.size()},
                     {"notEnforced", status.not_enforced.size()}};

  std::size_t bytes = dump_json(object).size() + 512;  // and the message
  std::vector<std::pair<std::string, Json>> listed;
  for (const GrantStatus* each : by_importance(status.grants)) {
    Json entry = json_of(*each);
    const std::size_t more = dump_json(entry).size() + 1;
    if (bytes + more > most_bytes) {
      ++left_out;
      continue;
    }
    bytes += more;
    listed.emplace_back(each->key, std::move(entry));
  }
  std::sort(listed.begin(), listed.end(), [](const auto& one, const auto& other) { return one.first < other.first; });
  Json& grants = body["grants"] = Json::array();
  for (auto& [key, entry] : listed) grants.push_back(std::move(entry));
  body["summary"]["leftOut"] = left_out;
  if (left_out > 0)
    body["message"] = std::to_string(left_out) +
                      " Grants or guests are not listed here, first of all those that are as they should be; "
                      "grantctl on this node shows all";
  return dump_json(object);
}

NodeStatus parse_status(const Json& object) {
  NodeStatus status;
  const Json* body = json_member(object, "status");
  const Json* grants = body != nullptr ? list_of(*body, "grants") : nullptr;
  if (grants == nullptr) return status;
  for (const Json& each : *grants) {
    GrantStatus grant;
    grant.key = json_text(each, "namespace") + "/" + json_text(each, "name");
    grant.generation = number_of<std::int64_t>(each, "observedGeneration");
    grant.policy_id = number_of<std::uint64_t>(each, "policyID");
    grant.conditions = parse_conditions(each);
    status.grants.push_back(std::move(grant));
  }
  std::sort(status.grants.begin(), status.grants.end(),
            [](const GrantStatus& one, const GrantStatus& other) { return one.key < other.key; });
  return status;
}

}  // namespace grantd
