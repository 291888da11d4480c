// What a runtime asks of the plugin, from the environment and standard input. Pure.
#pragma once

#include "agent/cni/failure.h"
#include "agent/handover/cni_record.h"
#include "agent/handover/guest_namespaces.h"

#include <nlohmann/json_fwd.hpp>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace grantd {

inline constexpr const char* kNewestCniVersion = "1.1.0";
// Those whose results name interfaces, which a chained plugin needs.
inline constexpr const char* kCniVersions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", kNewestCniVersion};

enum class CniCommand { Add, Check, Del, Gc, Status, Version };

// What stands in the plugin's entry of the chain. The agent writes it there.
struct PluginSettings {
  std::string pin_root = "/sys/fs/bpf/grantd";
  std::string state_dir = "/var/lib/grantd";
  std::string record_dir = kDefaultRecordDir;
  std::string namespace_pattern = kDefaultNamespacePattern;
  std::string attach = "auto";                       // as the agent's setting: auto, tcx or clsact
  bool refuse_unknown = false;                       // pods of namespaces that the agent has not recorded do not start
  std::set<std::string> ordinary = {"kube-system"};  // never guests', recorded or not, unless they are recorded as such
};

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

// The addresses of a result that belong to the interface `ifname` in `netns`; what is wrong with it otherwise. A
// result that tells of another interface in there is refused: nobody would close that one.
std::variant<std::vector<IpAddress>, CniFailure> read_addresses(const CniRequest& request);

}  // namespace grantd
