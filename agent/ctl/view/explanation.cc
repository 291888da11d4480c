#include "agent/ctl/view/explanation.h"

#include "agent/ctl/view/common.h"
#include "agent/ctl/view/table.h"
#include "maps/fixed_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace grantd {
namespace {

bool is_uplink(const ExplainedStep& step) { return step.hook == "from_uplink"; }

const grantd_policy* policy_of(const Snapshot& snapshot, const ExplainedStep& step) {
  const auto policy = snapshot.policies.find(step.found.policy_id);
  return policy == snapshot.policies.end() ? nullptr : &policy->second;
}

std::string grant_position(const Snapshot& snapshot, std::uint32_t slot) {
  const auto name = snapshot.slot_names.find(slot);
  return name == snapshot.slot_names.end() ? "" : position_text(text_of(name->second.file), name->second.line);
}

// What admits without an entry of the manifest: see section 3 of the design.
std::string default_name(const Snapshot& snapshot, const ExplainedStep& step) {
  const grantd_policy* policy = policy_of(snapshot, step);
  const std::uint32_t identity = step.found.identity;
  if (step.found.reason == GRANTD_REASON_ESTABLISHED) return "a flow that the Grant has admitted before";
  if (!policy) return "a default of the design";
  if (step.hook == "from_guest") {
    if (identity == policy->grantee_identity) return "a default of the design: a guest may reach the grantee's realm";
    if (identity == policy->identity) return "spec.networkPolicy.ingress.from: SameGrant (a default of the design)";
    return "a default of the design";
  }
  if (identity == policy->grantee_identity) return "a default of the design: the grantee's realm may always reach in";
  const char* party = identity == GRANTD_IDENTITY_LOCAL_NODE ? "LocalNode"
                      : identity == policy->grantor_identity ? "Grantor"
                      : identity == policy->identity         ? "SameGrant"
                                                             : nullptr;
  if (!party) return "a default of the design";
  return std::string("spec.networkPolicy.ingress.from: ") + party + " (a default of the design)";
}

std::string why_closed(const Snapshot& snapshot, const ExplainedStep& step) {
  if (step.found.reason == GRANTD_REASON_QUARANTINE) {
    const auto guest = snapshot.guests.find(step.found.endpoint_id);
    const std::string why = guest == snapshot.guests.end() ? "" : text_of(guest->second.quarantine);
    if (!why.empty()) return why;
  }
  const std::string position = grant_position(snapshot, step.found.slot);
  const std::string grant = grant_name(snapshot, step.found.slot) + (position.empty() ? "" : " (" + position + ")");
  const auto named = snapshot.slot_names.find(step.found.slot);
  const bool in_notice = named != snapshot.slot_names.end() && named->second.phase == GRANTD_PHASE_REVOKED;
  const std::string nothing = in_notice
                                  ? "spec.revoked of " + grant + ": in its notice period only admitted flows go on"
                                  : "nothing in " + grant + " opens it";
  switch (step.found.reason) {
    case GRANTD_REASON_DESTINATION:
      return nothing + (in_notice ? "" : ": not spec.networkPolicy.allowedDestinations, or egressAllowed is not true");
    case GRANTD_REASON_DESTINATION_PORT:
    case GRANTD_REASON_PROTECTED_DESTINATION:
    case GRANTD_REASON_NOBODY:
    case GRANTD_REASON_NOT_A_PARTY:
    case GRANTD_REASON_PARTY_PORT:
      return nothing;
    case GRANTD_REASON_EXPIRED:
    case GRANTD_REASON_NOT_YET_VALID:
      return "spec.validity of " + grant;
    case GRANTD_REASON_REVOKED:
      return "spec.revoked of " + grant;
    default:
      return "a rule of the datapath";
  }
}

nlohmann::ordered_json step_json(const Snapshot& snapshot, const ExplainedStep& step) {
  nlohmann::ordered_json json = {{"hook", step.hook}, {"where", step.where}};
  json["identity"] = step.found.identity;
  json["identity_name"] = identity_name(snapshot, step.found.identity);
  if (is_uplink(step)) return json;
  json["verdict"] = step_passes(step) ? "pass" : "drop";
  json["reason"] = reason_label(step.found.reason);
  json["sentence"] = reason_sentence(step.found.reason);
  if (step.found.reason == GRANTD_REASON_NOT_YET_VALID) json["starts_at"] = start_json(snapshot, step.found.slot);
  json["grant"] = step.found.slot ? nlohmann::ordered_json(grant_name(snapshot, step.found.slot)) : nullptr;
  json["policy_id"] = step.found.policy_id;
  json["endpoint_id"] = step.found.endpoint_id;
  json["decided_by"] = decided_by(snapshot, step);
  if (step.source)
    json["source"] = {
        {"file", text_of(step.source->file)}, {"line", step.source->line}, {"text", text_of(step.source->text)}};
  return json;
}

std::string step_text(const Snapshot& snapshot, const ExplainedStep& step, bool colour) {
  const std::string identity = identity_name(snapshot, step.found.identity);
  std::vector<std::pair<std::string, Cell>> facts = {{"  at", step.hook + " of " + step.where}};
  if (is_uplink(step)) {
    facts.push_back({"  sender", Cell(identity + (step.found.identity ? "" : ": that address is not believed here"),
                                      step.found.identity ? Colour::Good : Colour::Warning)});
    return render_facts(facts, colour);
  }
  const std::string position = grant_position(snapshot, step.found.slot);
  const std::string start =
      step.found.reason == GRANTD_REASON_NOT_YET_VALID ? start_text(snapshot, step.found.slot) : "";
  facts.push_back(
      {"  reason", Cell(std::string(reason_label(step.found.reason)) + ": " + reason_sentence(step.found.reason) +
                            (start.empty() ? "" : " It starts " + start + "."),
                        step_passes(step) ? Colour::Good : Colour::Bad)});
  facts.push_back({step.hook == "from_guest" ? "  receiver" : "  sender", identity});
  facts.push_back({"  grant", grant_name(snapshot, step.found.slot) + (position.empty() ? "" : ", " + position)});
  if (step.found.policy_id) facts.push_back({"  policy", std::to_string(step.found.policy_id)});
  facts.push_back({"  decided by", decided_by(snapshot, step)});
  return render_facts(facts, colour);
}

}  // namespace

bool step_passes(const ExplainedStep& step) { return is_uplink(step) || reason_passes(step.found.reason); }

bool packet_passes(const ExplainedPacket& packet) {
  return !packet.steps.empty() && std::all_of(packet.steps.begin(), packet.steps.end(), step_passes);
}

std::string decided_by(const Snapshot& snapshot, const ExplainedStep& step) {
  if (!step.source) return step_passes(step) ? default_name(snapshot, step) : why_closed(snapshot, step);
  return position_text(text_of(step.source->file), step.source->line) + ": " + text_of(step.source->text);
}

std::string show_explanation(const Snapshot& snapshot, const std::vector<ExplainedPacket>& packets,
                             const Style& style) {
  if (style.output == Output::Json) {
    auto list = nlohmann::ordered_json::array();
    for (const ExplainedPacket& packet : packets) {
      auto steps = nlohmann::ordered_json::array();
      for (const ExplainedStep& step : packet.steps) steps.push_back(step_json(snapshot, step));
      list.push_back({{"source", packet.source},
                      {"destination", packet.destination},
                      {"way", packet.way},
                      {"verdict", packet_passes(packet) ? "pass" : "drop"},
                      {"steps", steps}});
    }
    return json_text({{"packets", list}});
  }
  std::string text;
  for (const ExplainedPacket& packet : packets) {
    const bool passes = packet_passes(packet);
    const std::string head = packet.source + " -> " + packet.destination + (packet.way.empty() ? "" : " " + packet.way);
    text += render_facts(
        {{head + ":", Cell(passes ? "would pass" : "would drop", passes ? Colour::Good : Colour::Bad)}}, style.colour);
    for (const ExplainedStep& step : packet.steps) text += step_text(snapshot, step, style.colour);
  }
  return text;
}

}  // namespace grantd
