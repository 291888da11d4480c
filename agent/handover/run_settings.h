// What the agent was told, and makes of its clock, as far as it decides what a manifest becomes on this node: for
// grantctl. The agent is the only writer; grantctl reads, also when no agent runs.
#pragma once

#include "maps/abi/identity.h"
#include "maps/address.h"
#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

// The inode of the caller's network namespace; 0 where it cannot be told.
std::uint64_t own_network_namespace();

// Which pods are guests, and by what they are found on this node: as in the settings of `grantd run`.
struct ClusterSettings {
  std::string node, guest_namespaces, cni_records, cni_cache, cri_socket;
  bool operator==(const ClusterSettings&) const = default;
};

struct RunSettings {
  std::string pin_root;   // of the agent that was told so: another's are no business of who asks
  std::string manifests;  // directory; "": the API server has them
  std::vector<IpPrefix> pod_cidrs, service_cidrs;
  std::vector<std::pair<std::string, grantd_uplink_class>> uplinks;  // by glob, in order
  std::uint64_t network_namespace = 0;                               // inode, whose interfaces it sees
  bool clock_trusted = true;                                         // or else dated Grants are in quarantine
  std::optional<ClusterSettings> cluster = {};                       // where the API server has the manifests
  bool operator==(const RunSettings&) const = default;
};

std::string run_settings_path(const std::string& state_dir);

// Nothing where no agent has written it. A damaged file is an error, which names it and the way out.
Result<std::optional<RunSettings>> read_run_settings(const std::string& state_dir);

// Writes it, in one step, where it says something else or is damaged.
Result<void> keep_run_settings(const std::string& state_dir, const RunSettings& wanted);

}  // namespace grantd
