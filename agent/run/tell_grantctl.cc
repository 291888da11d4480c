#include "agent/run/tell_grantctl.h"

#include "agent/handover/run_settings.h"
#include "crd-sync/problem.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <utility>

namespace grantd {

namespace {

constexpr std::size_t kNameBytes = 320, kWhyBytes = 1024;

using Key = std::pair<Refusal::Kind, std::string>;

// Without the name, which stands before it.
std::string why_of(Problem problem) {
  problem.object.clear();
  return problem.text();
}

// Of an error: the object, or where it names none the file that cannot be read.
std::optional<Key> key_of(const Problem& problem) {
  if (problem.severity != Severity::Error) return std::nullopt;
  const std::string_view object = problem.object;
  for (const auto& [prefix, kind] : {std::pair{std::string_view("Grant "), Refusal::Kind::Grant},
                                     {std::string_view("Workload "), Refusal::Kind::Guest},
                                     {std::string_view("Realm "), Refusal::Kind::Realm}})
    if (object.starts_with(prefix)) return Key{kind, std::string(object.substr(prefix.size()))};
  if (!object.empty() || problem.position.file.text().empty()) return std::nullopt;
  return Key{Refusal::Kind::File, problem.position.file.text()};
}

// grantctl may be called elsewhere.
std::string absolute(const std::string& path) {
  std::error_code failed;
  return std::filesystem::absolute(path, failed).string();
}

}  // namespace

Refusals refusals_of(const DesiredState& desired, const CompiledPolicy& compiled) {
  std::map<Key, std::string> why;  // of several the first
  for (const Problem& problem : desired.problems)
    if (const auto key = key_of(problem)) why.try_emplace(*key, why_of(problem));
  for (const RefusedGrant& grant : compiled.refused)
    why.try_emplace({Refusal::Kind::Grant, grant.key}, why_of(grant.problem));
  std::set<std::string_view> attached;
  for (const CompiledEndpoint& endpoint : compiled.endpoints) attached.insert(endpoint.guest);
  // A guest that is attached, and in quarantine, has a row of its own that says why.
  const auto told = std::min(desired.problems.size(), compiled.problems.size());
  for (std::size_t index = told; index < compiled.problems.size(); ++index) {
    const Problem& problem = compiled.problems[index];
    const auto key = key_of(problem);
    if (!key) continue;
    const bool realm = key->first == Refusal::Kind::Realm;
    if (!realm && (key->first != Refusal::Kind::Guest || attached.contains(key->second))) continue;
    const auto [row, first] = why.try_emplace(*key, why_of(problem));
    // One that is refused may be what takes the room of all.
    if (!first && realm && row->second.size() < kWhyBytes) row->second += "; " + why_of(problem);
  }
  for (const CompiledEndpoint& endpoint : compiled.endpoints)
    if (endpoint.without_record)
      why.try_emplace({Refusal::Kind::Guest, endpoint.guest},
                      "has no room on this node and stays closed; accepted: at most " +
                          std::to_string(compiled.bounds[GRANTD_BOUND_ENDPOINTS].most) + " guests (--max-endpoints)");
  Refusals refusals;
  for (const auto& [key, text] : why)
    refusals.refused.push_back({key.first, escape_text(key.second, kNameBytes), escape_text(text, kWhyBytes)});
  return refusals;
}

std::vector<std::string> refused_grants(const Refusals& refusals) {
  std::vector<std::string> grants;
  for (const Refusal& each : refusals.refused)
    if (each.kind == Refusal::Kind::Grant) grants.push_back(each.name);
  return grants;
}

std::optional<Problem> tell_grantctl(const Settings& settings, const CompiledPolicy& compiled, Refusals refusals) {
  const std::string place = settings.kubernetes ? "" : absolute(settings.manifests);
  const bool trusted = std::none_of(compiled.grants.begin(), compiled.grants.end(),
                                    [](const CompiledGrant& each) { return each.cause == Cause::ClockNotTrusted; });
  RunSettings told{settings.pin_root,       place,  settings.pod_cidrs, settings.service_cidrs, {},
                   own_network_namespace(), trusted};
  if (settings.kubernetes)
    told.cluster = {settings.node, settings.guest_namespaces, absolute(settings.cni_records),
                    absolute(settings.cni_cache), settings.cri_socket};
  for (const UplinkRule& rule : settings.uplinks)
    told.uplinks.emplace_back(rule.interface_glob, static_cast<grantd_uplink_class>(rule.uplink_class));
  refusals.pin_root = settings.pin_root;
  const auto cannot = [&](const std::string& what, const Error& error) {
    return problem_at(Severity::Warning, settings.state_dir, "grantctl cannot be told " + what + ": " + error.message);
  };
  if (auto kept = keep_refusals(settings.state_dir, std::move(refusals)); !kept)
    return cannot("what is refused", kept.error());
  if (auto kept = keep_run_settings(settings.state_dir, told); !kept) return cannot("what to verify", kept.error());
  return std::nullopt;
}

}  // namespace grantd
