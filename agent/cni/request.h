// What a runtime asks of the plugin, from the environment and standard input. Pure.
#pragma once

#include "agent/cni/failure.h"
#include "agent/cni/plugin_settings.h"
#include "agent/handover/cni_record.h"

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace grantd {

enum class CniCommand { Add, Check, Del, Gc, Status, Version };

struct CniRequest {
  CniCommand command = CniCommand::Version;
  std::string cni_version, network;
  PluginSettings settings;
  std::string container_id, ifname, netns;              // as far as the command has them
  std::string pod_namespace, pod_name, pod_uid;         // of CNI_ARGS; "" where the runtime tells none
  std::shared_ptr<const nlohmann::json> previous;       // ADD and CHECK: the result of the plugins before this one
  std::set<std::pair<std::string, std::string>> valid;  // GC: container ids and interfaces that are still in use
};

using Environment = std::map<std::string, std::string>;

std::variant<CniRequest, CniFailure> read_request(const Environment& environment, std::string_view input);

// What a result says of the interface `ifname` in `netns`.
struct ResultInterface {
  std::vector<IpAddress> addresses;
  std::string mac;  // "" where it tells none
};

// What is wrong with the result otherwise. One that tells of another interface in there is refused: nobody would close
// that one.
std::variant<ResultInterface, CniFailure> read_result(const CniRequest& request);

}  // namespace grantd
