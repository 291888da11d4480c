#include "agent/cni/request.h"

#include "crd-sync/api/json.h"
#include "crd-sync/names.h"

#include <algorithm>
#include <optional>

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxArgs = 64 << 10;

struct Named {
  const char* name;
  CniCommand command;
};
constexpr Named kCommands[] = {{"ADD", CniCommand::Add},       {"CHECK", CniCommand::Check},
                               {"DEL", CniCommand::Del},       {"GC", CniCommand::Gc},
                               {"STATUS", CniCommand::Status}, {"VERSION", CniCommand::Version}};

// Reads one request; the first thing that is wrong ends it.
class Reader {
 public:
  Reader(const Environment& environment, std::string_view input) : environment_(environment), input_(input) {}

  std::variant<CniRequest, CniFailure> read() {
    if (read_command() && read_config() && read_attachment()) return request_;
    return failure_;
  }

 private:
  bool fail(CniCode code, std::string message, std::string details = "") {
    failure_ = {code, std::move(message), std::move(details)};
    return false;
  }

  std::string variable(const char* name) const {
    const auto found = environment_.find(name);
    return found == environment_.end() ? "" : found->second;
  }

  bool read_command() {
    const std::string name = variable("CNI_COMMAND");
    for (const Named& each : kCommands)
      if (name == each.name) {
        request_.command = each.command;
        return true;
      }
    return fail(CniCode::InvalidEnvironment, "CNI_COMMAND '" + name + "'",
                "accepted: ADD, CHECK, DEL, GC, STATUS or VERSION");
  }

  bool read_config() {
    const bool version_only = request_.command == CniCommand::Version;
    request_.cni_version = kNewestCniVersion;
    if (version_only && input_.find_first_not_of(" \t\r\n") == input_.npos) return true;
    const auto config = parse_json(input_, {});
    if (!config || !config->is_object()) return fail(CniCode::Decode, "the configuration is no JSON object");
    const std::string version = json_text(*config, "cniVersion");
    if (version_only) {
      if (!version.empty()) request_.cni_version = version;
      return true;
    }
    if (!is_known_cni_version(version))
      return fail(CniCode::IncompatibleVersion, "cniVersion '" + version + "'", kAcceptedCniVersions);
    request_.cni_version = version;
    request_.network = json_text(*config, "name");
    if (request_.network.empty()) return fail(CniCode::InvalidConfig, "the configuration names no network");
    return read_settings(*config) && read_previous(*config) && read_valid(*config);
  }

  bool read_settings(const json& config) {
    PluginSettings& settings = request_.settings;
    for (const auto& [name, value] : {std::pair{"pinRoot", &settings.pin_root},
                                      {"stateDir", &settings.state_dir},
                                      {"recordDir", &settings.record_dir},
                                      {"namespacePattern", &settings.namespace_pattern}}) {
      const json* given = json_member(config, name);
      if (given == nullptr) continue;
      const bool path = value != &settings.namespace_pattern;
      if (!given->is_string() || given->get_ref<const std::string&>().empty() ||
          (path && !given->get_ref<const std::string&>().starts_with('/')))
        return fail(CniCode::InvalidConfig, std::string("setting ") + name,
                    path ? "accepted: an absolute path" : "accepted: a pattern of namespaces, such as guest-*");
      *value = given->get<std::string>();
    }
    if (const json* given = json_member(config, "attach")) {
      settings.attach = given->is_string() ? given->get<std::string>() : "";
      if (settings.attach != "auto" && settings.attach != "tcx" && settings.attach != "clsact")
        return fail(CniCode::InvalidConfig, "setting attach", "accepted: auto, tcx or clsact");
    }
    if (const json* given = json_member(config, "refuseUnknown")) {
      if (!given->is_boolean()) return fail(CniCode::InvalidConfig, "setting refuseUnknown", "accepted: true or false");
      settings.refuse_unknown = given->get<bool>();
    }
    if (const json* given = json_member(config, "ordinaryNamespaces")) {
      const bool texts = given->is_array() &&
                         std::all_of(given->begin(), given->end(), [](const json& each) { return each.is_string(); });
      if (!texts) return fail(CniCode::InvalidConfig, "setting ordinaryNamespaces", "accepted: a list of namespaces");
      settings.ordinary.clear();
      for (const json& each : *given) settings.ordinary.insert(each.get<std::string>());
    }
    return true;
  }

  bool read_previous(const json& config) {
    if (request_.command != CniCommand::Add && request_.command != CniCommand::Check) return true;
    const json* previous = json_member(config, "prevResult");
    if (previous == nullptr || !previous->is_object())
      return fail(CniCode::InvalidConfig, "the configuration has no prevResult",
                  "accepted: a chain, in which this plugin stands after the one that makes the interface");
    json kept = *previous;
    kept["cniVersion"] = request_.cni_version;
    request_.previous = std::make_shared<const json>(std::move(kept));
    return true;
  }

  bool read_valid(const json& config) {
    if (request_.command != CniCommand::Gc) return true;
    const json* list = json_member(config, "cni.dev/valid-attachments");
    if (list == nullptr) list = json_member(config, "cni.dev/attachments");  // as the specification once had it
    if (list != nullptr && list->is_null()) return true;                     // as libcni writes an empty list
    if (list == nullptr || !list->is_array())
      return fail(CniCode::InvalidConfig, "cni.dev/valid-attachments is no list");
    for (const json& each : *list) {
      const std::string container_id = json_text(each, "containerID"), ifname = json_text(each, "ifname");
      if (container_id.empty() || ifname.empty())
        return fail(CniCode::InvalidConfig, "cni.dev/valid-attachments",
                    "accepted: objects with containerID and ifname");
      request_.valid.insert({container_id, ifname});
    }
    return true;
  }

  bool read_attachment() {
    const bool add = request_.command == CniCommand::Add || request_.command == CniCommand::Check;
    if (!add && request_.command != CniCommand::Del) {
      if (request_.command != CniCommand::Version && request_.cni_version != kNewestCniVersion)
        return fail(CniCode::IncompatibleVersion, variable("CNI_COMMAND") + " needs cniVersion 1.1.0");
      return true;
    }
    request_.container_id = variable("CNI_CONTAINERID");
    request_.ifname = variable("CNI_IFNAME");
    request_.netns = variable("CNI_NETNS");
    if (!is_container_id(request_.container_id))
      return fail(CniCode::InvalidEnvironment, "CNI_CONTAINERID '" + request_.container_id + "'",
                  "accepted: a letter or digit, then letters, digits, '_', '.' and '-', at most 200");
    if (!is_interface_name(request_.ifname))
      return fail(CniCode::InvalidEnvironment, "CNI_IFNAME '" + request_.ifname + "'", "accepted: an interface's name");
    if (add && !request_.netns.starts_with('/'))
      return fail(CniCode::InvalidEnvironment, "CNI_NETNS '" + request_.netns + "'", "accepted: an absolute path");
    return read_arguments(variable("CNI_ARGS"));
  }

  // KEY=VALUE;KEY=VALUE
  bool read_arguments(std::string_view arguments) {
    const std::string accepted = "accepted: KEY=VALUE pairs with ';' between them, each key once";
    if (arguments.size() > kMaxArgs) return fail(CniCode::InvalidEnvironment, "CNI_ARGS is too long");
    std::map<std::string_view, std::string_view> values;
    while (!arguments.empty()) {
      const std::string_view pair = arguments.substr(0, arguments.find(';'));
      arguments.remove_prefix(std::min(arguments.size(), pair.size() + 1));
      if (pair.empty()) continue;
      const auto sign = pair.find('=');
      if (sign == pair.npos || !values.emplace(pair.substr(0, sign), pair.substr(sign + 1)).second)
        return fail(CniCode::InvalidEnvironment, "CNI_ARGS '" + std::string(pair) + "'", accepted);
    }
    request_.pod_namespace = values["K8S_POD_NAMESPACE"];
    request_.pod_name = values["K8S_POD_NAME"];
    request_.pod_uid = values["K8S_POD_UID"];
    return true;
  }

  const Environment& environment_;
  std::string_view input_;
  CniRequest request_;
  CniFailure failure_;
};

}  // namespace

std::variant<CniRequest, CniFailure> read_request(const Environment& environment, std::string_view input) {
  return Reader(environment, input).read();
}

std::variant<ResultInterface, CniFailure> read_result(const CniRequest& request) {
  const auto wrong = [](std::string message, std::string details = "") {
    return CniFailure{CniCode::InvalidConfig, "prevResult: " + std::move(message), std::move(details)};
  };
  const json* interfaces = json_member(*request.previous, "interfaces");
  if (interfaces == nullptr || !interfaces->is_array()) return wrong("'interfaces' is no list");
  std::optional<std::size_t> own;
  for (std::size_t index = 0; index < interfaces->size(); index++) {
    const json& each = (*interfaces)[index];
    if (json_text(each, "sandbox").empty()) continue;  // the host's
    if (json_text(each, "name") != request.ifname)
      return wrong("interface '" + json_text(each, "name") + "' in the guest's network namespace",
                   "accepted: one interface for a guest, " + request.ifname);
    own = index;
  }
  if (!own) return wrong("no interface '" + request.ifname + "' in a network namespace");
  ResultInterface found{{}, json_text((*interfaces)[*own], "mac")};
  const json* ips = json_member(*request.previous, "ips");
  if (ips == nullptr) return found;
  if (!ips->is_array()) return wrong("'ips' is no list");
  for (const json& each : *ips) {
    const json* interface = json_member(each, "interface");
    if (interface != nullptr && *interface != *own) continue;
    const std::string text = json_text(each, "address");
    const auto address = IpAddress::parse(std::string_view(text).substr(0, text.find('/')));
    if (!address) return wrong("address '" + text + "'", address.error().message);
    found.addresses.push_back(address.value());
  }
  return found;
}

}  // namespace grantd
