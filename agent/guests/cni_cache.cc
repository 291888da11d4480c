#include "agent/guests/cni_cache.h"

#include "crd-sync/api/json.h"
#include "crd-sync/file_text.h"
#include "crd-sync/names.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxFiles = 32'768, kMaxBytes = 1U << 20;

// CNI_ARGS: [["K8S_POD_NAME", "web"], ...]
std::string argument(const json& arguments, std::string_view name) {
  if (!arguments.is_array()) return "";
  for (const json& each : arguments)
    if (each.is_array() && each.size() == 2 && each[0].is_string() && each[1].is_string() &&
        each[0].get_ref<const std::string&>() == name)
      return each[1].get<std::string>();
  return "";
}

// Those of a sandbox are inside the pod.
void take_interfaces(const json& result, PodRecord& record) {
  const json* interfaces = json_member(result, "interfaces");
  if (interfaces == nullptr || !interfaces->is_array()) return;
  for (const json& each : *interfaces) {
    const std::string name = json_text(each, "name"), sandbox = json_text(each, "sandbox");
    if (!sandbox.empty()) {
      record.netns = sandbox;
    } else if (is_interface_name(name)) {
      record.host_interfaces.push_back(name);
    }
  }
}

void take_addresses(const json& result, PodRecord& record) {
  const json* list = json_member(result, "ips");
  if (list == nullptr || !list->is_array()) return;
  for (const json& each : *list) {
    const std::string text = json_text(each, "address");
    const auto address = IpAddress::parse(std::string_view(text).substr(0, text.find('/')));
    if (address &&
        std::find(record.addresses.begin(), record.addresses.end(), address.value()) == record.addresses.end())
      record.addresses.push_back(address.value());
  }
}

}  // namespace

std::optional<PodRecord> parse_cni_result(std::string_view text) {
  const auto root = parse_json(text, {});
  if (!root || json_text(*root, "kind") != "cniCacheV1") return std::nullopt;
  if (json_text(*root, "ifName") == "lo") return std::nullopt;  // attaches nothing
  const json* arguments = json_member(*root, "cniArgs");
  const json* result = json_member(*root, "result");
  if (arguments == nullptr || result == nullptr) return std::nullopt;
  PodRecord record;
  record.pod_namespace = argument(*arguments, "K8S_POD_NAMESPACE");
  record.pod_name = argument(*arguments, "K8S_POD_NAME");
  record.pod_uid = argument(*arguments, "K8S_POD_UID");
  if (record.pod_namespace.empty() || record.pod_name.empty()) return std::nullopt;
  take_interfaces(*result, record);
  take_addresses(*result, record);
  // Newer ones say it outright; a result need not name its interfaces.
  if (record.netns.empty()) record.netns = json_text(*root, "netns");
  if (record.netns.empty()) return std::nullopt;
  return record;
}

CniCache read_cni_cache(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator each(directory, failed), end; !failed && each != end; each.increment(failed))
    if (names.size() < kMaxFiles) names.push_back(each->path().string());
  std::sort(names.begin(), names.end());
  CniCache cache;
  cache.complete = !failed || failed.value() == ENOENT;
  for (const std::string& name : names) {
    const auto text = read_whole_file(name, kMaxBytes);
    if (!text) {
      // Gone since it was listed, or no file that a runtime writes.
      const int error = text.error().error_number;
      cache.complete &= error == ENOENT || error == EFBIG || error == EISDIR;
      continue;
    }
    if (auto record = parse_cni_result(text.value())) cache.records.push_back(std::move(*record));
  }
  return cache;
}

}  // namespace grantd
