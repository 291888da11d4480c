// What the agent, which writes the chain, and the plugin, which reads its entry there, agree on.
#pragma once

#include "agent/handover/cni_record.h"
#include "agent/handover/guest_namespaces.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <string>
#include <string_view>

namespace grantd {

inline constexpr const char* kCniPlugin = "grantd-cni";  // its type, and the name of its file
inline constexpr const char* kNewestCniVersion = "1.1.0";
// Those whose results name interfaces, which a chained plugin needs.
inline constexpr const char* kCniVersions[] = {"0.3.0", "0.3.1", "0.4.0", "1.0.0", kNewestCniVersion};
inline constexpr const char* kAcceptedCniVersions = "accepted: 0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0";

inline bool is_known_cni_version(std::string_view version) {
  return std::find(std::begin(kCniVersions), std::end(kCniVersions), version) != std::end(kCniVersions);
}

// What stands in the plugin's entry of the chain. The agent writes it there.
struct PluginSettings {
  std::string pin_root = "/sys/fs/bpf/grantd";
  std::string state_dir = "/var/lib/grantd";
  std::string record_dir = kDefaultRecordDir;
  std::string namespace_pattern = kDefaultNamespacePattern;
  std::string attach = "auto";                       // as the agent's setting: auto, tcx or clsact
  bool refuse_unknown = false;                       // pods of namespaces that no agent vouches for do not start
  std::set<std::string> ordinary = {"kube-system"};  // never guests', recorded or not, unless they are recorded as such
  bool operator==(const PluginSettings&) const = default;
};

}  // namespace grantd
