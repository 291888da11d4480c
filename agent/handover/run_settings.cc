#include "agent/handover/run_settings.h"

#include "agent/handover/state_file.h"

#include <sys/stat.h>

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxEntries = 4096, kMaxBytes = 1 << 20;

StateFile file_of(const std::string& state_dir) {
  return {run_settings_path(state_dir), kMaxBytes, 4 * kMaxEntries, "an agent that starts writes it anew"};
}

json list_of(const std::vector<IpPrefix>& prefixes) {
  json list = json::array();
  for (const IpPrefix& each : prefixes) list.push_back(each.text());
  return list;
}

bool read_prefixes(const json* list, std::vector<IpPrefix>& prefixes) {
  if (list == nullptr || !list->is_array()) return false;
  for (const json& entry : *list) {
    auto prefix = entry.is_string() ? IpPrefix::parse(entry.get<std::string>()) : Error{"no text", 0};
    if (!prefix) return false;
    prefixes.push_back(prefix.value());
  }
  return true;
}

bool read_uplinks(const json* list, RunSettings& settings) {
  if (list == nullptr || !list->is_array()) return false;
  for (const json& entry : *list) {
    const json* number = json_member(entry, "class");
    const std::string glob = json_text(entry, "interface");
    if (glob.empty() || number == nullptr || !number->is_number_unsigned() || *number < GRANTD_UPLINK_TAILNET ||
        *number > GRANTD_UPLINK_UNTRUSTED)
      return false;
    settings.uplinks.emplace_back(glob, static_cast<grantd_uplink_class>(number->get<unsigned>()));
  }
  return true;
}

constexpr std::pair<const char*, std::string ClusterSettings::*> kClusterTexts[] = {
    {"node", &ClusterSettings::node},
    {"guest_namespaces", &ClusterSettings::guest_namespaces},
    {"cni_records", &ClusterSettings::cni_records},
    {"cni_cache", &ClusterSettings::cni_cache},
    {"cri_socket", &ClusterSettings::cri_socket}};

// Nothing where manifests name the guests.
bool read_cluster(const json* cluster, RunSettings& settings) {
  if (cluster == nullptr) return true;
  auto& read = settings.cluster.emplace();
  for (const auto& [name, text] : kClusterTexts)
    if (read.*text = json_text(*cluster, name); (read.*text).empty()) return false;
  return true;
}

json cluster_of(const ClusterSettings& settings) {
  json cluster;
  for (const auto& [name, text] : kClusterTexts) cluster[name] = settings.*text;
  return cluster;
}

}  // namespace

std::uint64_t own_network_namespace() {
  struct stat found {};
  return stat("/proc/self/ns/net", &found) == 0 ? found.st_ino : 0;
}

std::string run_settings_path(const std::string& state_dir) { return state_dir + "/settings.json"; }

Result<std::optional<RunSettings>> read_run_settings(const std::string& state_dir) {
  const StateFile file = file_of(state_dir);
  const auto read = file.read();
  if (!read) return read.error();
  const auto& root = read.value();
  if (!root) return std::optional<RunSettings>();
  RunSettings settings;
  settings.pin_root = json_text(*root, "pin_root");
  settings.manifests = json_text(*root, "manifests");
  if (!read_prefixes(json_member(*root, "pod_cidrs"), settings.pod_cidrs) ||
      !read_prefixes(json_member(*root, "service_cidrs"), settings.service_cidrs))
    return file.damaged("'pod_cidrs' or 'service_cidrs' is no list of prefixes");
  if (!read_uplinks(json_member(*root, "uplinks"), settings))
    return file.damaged("'uplinks' is no list of interfaces with their classes");
  const json* space = json_member(*root, "network_namespace");
  const json* trusted = json_member(*root, "clock_trusted");
  if (space == nullptr || !space->is_number_unsigned() || trusted == nullptr || !trusted->is_boolean())
    return file.damaged("'network_namespace' is no number, or 'clock_trusted' neither true nor false");
  if (!read_cluster(json_member(*root, "cluster"), settings))
    return file.damaged("'cluster' does not say how pods are found");
  settings.network_namespace = space->get<std::uint64_t>();
  settings.clock_trusted = trusted->get<bool>();
  return std::optional(std::move(settings));
}

Result<void> keep_run_settings(const std::string& state_dir, const RunSettings& wanted) {
  if (const auto there = read_run_settings(state_dir); there && there.value() && *there.value() == wanted) return {};
  json uplinks = json::array();
  for (const auto& [glob, uplink_class] : wanted.uplinks)
    uplinks.push_back({{"interface", glob}, {"class", static_cast<unsigned>(uplink_class)}});
  json root = {{"pin_root", wanted.pin_root},
               {"manifests", wanted.manifests},
               {"pod_cidrs", list_of(wanted.pod_cidrs)},
               {"service_cidrs", list_of(wanted.service_cidrs)},
               {"uplinks", uplinks},
               {"network_namespace", wanted.network_namespace},
               {"clock_trusted", wanted.clock_trusted}};
  if (wanted.cluster) root["cluster"] = cluster_of(*wanted.cluster);
  return file_of(state_dir).write(root);
}

}  // namespace grantd
