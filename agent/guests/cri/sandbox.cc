#include "agent/guests/cri/sandbox.h"

#include "crd-sync/api/json.h"
#include "crd-sync/names.h"

#include <agent/guests/cri/cri.pb.h>

#include <algorithm>
#include <utility>

namespace grantd {

namespace {

using nlohmann::json;

const json& member(const json& object, const char* name) {
  static const json none;
  const json* found = json_member(object, name);
  return found != nullptr ? *found : none;
}

// Of an OCI runtime's specification: the path of the network namespace; "" where it has none of its own.
std::string network_namespace(const json& specification) {
  const json& list = member(member(specification, "linux"), "namespaces");
  if (!list.is_array()) return "";
  for (const json& each : list)
    if (json_text(each, "type") == "network") return json_text(each, "path");
  return "";
}

// Those that are in no sandbox are the host's.
std::vector<std::string> host_interfaces(const json& result) {
  std::vector<std::string> names;
  const json& interfaces = member(result, "Interfaces");
  if (!interfaces.is_object()) return names;
  for (const auto& [name, each] : interfaces.items())
    if (json_text(each, "Sandbox").empty() && is_interface_name(name) && name != "lo") names.push_back(name);
  return names;
}

void take_address(const std::string& text, PodRecord& record) {
  const auto address = IpAddress::parse(text);
  if (address && std::find(record.addresses.begin(), record.addresses.end(), address.value()) == record.addresses.end())
    record.addresses.push_back(address.value());
}

}  // namespace

std::string list_sandboxes_request() {
  runtime::v1::ListPodSandboxRequest request;
  request.mutable_filter()->mutable_state()->set_state(runtime::v1::SANDBOX_READY);
  return request.SerializeAsString();
}

Result<std::map<std::string, std::string>> read_sandboxes(const std::string& answer) {
  runtime::v1::ListPodSandboxResponse list;
  if (!list.ParseFromString(answer)) return Error{"its list of sandboxes cannot be read"};
  std::map<std::string, std::pair<std::int64_t, std::string>> newest;
  for (const auto& each : list.items()) {
    if (each.state() != runtime::v1::SANDBOX_READY) continue;
    auto& best = newest[each.metadata().uid()];
    best = std::max(best, std::pair(std::int64_t{each.created_at()}, each.id()));
  }
  std::map<std::string, std::string> ids;
  for (auto& [uid, sandbox] : newest) ids.emplace(uid, std::move(sandbox.second));
  return ids;
}

std::string sandbox_status_request(const std::string& id) {
  runtime::v1::PodSandboxStatusRequest request;
  request.set_pod_sandbox_id(id);
  request.set_verbose(true);
  return request.SerializeAsString();
}

Result<PodRecord> read_sandbox_status(const std::string& answer) {
  runtime::v1::PodSandboxStatusResponse response;
  if (!response.ParseFromString(answer)) return Error{"its status of a sandbox cannot be read"};
  const auto& status = response.status();
  PodRecord record;
  record.pod_namespace = status.metadata().namespace_();
  record.pod_name = status.metadata().name();
  record.pod_uid = status.metadata().uid();
  take_address(status.network().ip(), record);
  for (const auto& each : status.network().additional_ips()) take_address(each.ip(), record);
  const auto found = response.info().find("info");
  const auto info = found == response.info().end() ? std::nullopt : parse_json(found->second, {});
  if (!info) return Error{"it tells nothing of the sandbox of " + record.pod_namespace + "/" + record.pod_name};
  record.netns = network_namespace(member(*info, "runtimeSpec"));
  record.host_interfaces = host_interfaces(member(*info, "cniResult"));
  if (record.netns.empty())
    return Error{"it names no network namespace of " + record.pod_namespace + "/" + record.pod_name};
  return record;
}

}  // namespace grantd
