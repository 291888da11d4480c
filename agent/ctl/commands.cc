#include "agent/ctl/commands.h"

#include "agent/ctl/console.h"
#include "agent/ctl/explain/explain.h"
#include "agent/snapshot/read_snapshot.h"

#include <algorithm>
#include <fstream>
#include <functional>
#include <map>

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

Result<std::vector<ExplainedPacket>> ask_datapath(const CtlOptions& options, const Question& question,
                                                  const ExplainOptions& asked, Snapshot& snapshot) {
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) return maps.error();
  auto read = read_snapshot(maps.value(), {});
  if (!read) return read.error();
  snapshot = std::move(read).value();
  auto stamp = stamp_settings(snapshot.node.stamp_mask);
  if (!stamp) return stamp.error();
  auto datapath = DryRun::load(options.pin_root, stamp.value());
  if (!datapath) return datapath.error();
  return explain(question, {asked.local, asked.via}, snapshot, maps.value(), *datapath.value());
}

// A packet passes where it passes by one way.
bool all_pass(const std::vector<ExplainedPacket>& packets) {
  std::map<std::string, bool> passes;
  for (const ExplainedPacket& packet : packets) passes[packet.destination] |= packet_passes(packet);
  return std::all_of(passes.begin(), passes.end(), [](const auto& entry) { return entry.second; });
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

int run_explain(const CtlOptions& options, const ExplainOptions& asked) {
  auto question = parse_question(asked.source, asked.destination);
  if (!question) {
    complain(question.error());
    return kExitUsage;
  }
  Snapshot snapshot;
  auto packets = ask_datapath(options, question.value(), asked, snapshot);
  if (!packets) {
    complain(packets.error());
    return kExitCannot;
  }
  print(show_explanation(snapshot, packets.value(), options.style));
  return all_pass(packets.value()) ? kExitOk : kExitNo;
}

}  // namespace grantd
