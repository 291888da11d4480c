#include "agent/ctl/commands.h"

#include "agent/ctl/console.h"
#include "agent/snapshot/read_snapshot.h"

#include <fstream>
#include <functional>

namespace grantd {
namespace {

int show(const CtlOptions& options, const SnapshotParts& parts,
         const std::function<std::string(const Snapshot&)>& view) {
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) {
    complain(maps.error());
    return kExitCannot;
  }
  auto snapshot = read_snapshot(maps.value(), parts);
  if (!snapshot) {
    complain(snapshot.error());
    return kExitCannot;
  }
  print(view(snapshot.value()));
  return kExitOk;
}

bool agent_runs(std::uint32_t pid) {
  std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  return pid != 0 && std::getline(comm, name) && name == "grantd";
}

}  // namespace

int run_status(const CtlOptions& options) {
  return show(options, {.counters = true, .buckets = false, .flows = false, .fills = true},
              [&](const Snapshot& snapshot) {
                return show_status(snapshot, {options.pin_root, agent_runs(snapshot.node.pid)}, options.style);
              });
}

int run_grants(const CtlOptions& options) {
  return show(options, {},
              [&](const Snapshot& snapshot) { return show_grants(snapshot, options.filter, options.style); });
}

int run_endpoints(const CtlOptions& options) {
  return show(options, {},
              [&](const Snapshot& snapshot) { return show_endpoints(snapshot, options.filter, options.style); });
}

int run_drops(const CtlOptions& options) {
  return show(options, {.counters = true, .buckets = false, .flows = false, .fills = false},
              [&](const Snapshot& snapshot) { return show_drops(snapshot, options.filter, options.style); });
}

}  // namespace grantd
