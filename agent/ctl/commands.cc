#include "agent/ctl/commands.h"

#include "agent/attach/pin_lock.h"
#include "agent/ctl/console.h"
#include "agent/ctl/event_lock.h"
#include "agent/ctl/explain/explain.h"
#include "agent/ctl/gate_drops.h"
#include "agent/snapshot/lost_bytes.h"
#include "agent/snapshot/read_snapshot.h"

#include <bpf/libbpf.h>
#include <net/if.h>
#include <sys/stat.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <thread>

namespace grantd {
namespace {

// A snapshot in which, or in what was refused, there is what the filter names.
Result<Snapshot> first_snapshot(const CtlOptions& options, const DatapathMaps& maps, const SnapshotParts& parts,
                                const Refusals& refusals = {}) {
  auto snapshot = read_snapshot(maps, parts);
  if (!snapshot) return snapshot;
  if (auto known = options.filter.names_known(snapshot.value(), refusals); !known) return known.error();
  return snapshot;
}

// Maps that are open can still be read after `grantd uninstall`, or where their pins were made anew: a pin is another
// inode then.
class SamePins {
 public:
  explicit SamePins(const CtlOptions& options) : path_(map_pin(options.pin_root, "grantd_event")), inode_(inode()) {}

  Result<void> check() const {
    if (inode() == inode_) return {};
    return Error{"pin " + path_ +
                 ": is gone, or another: what was read is no longer in force; accepted: to begin anew"};
  }

 private:
  ino_t inode() const {
    struct stat found {};
    return stat(path_.c_str(), &found) == 0 ? found.st_ino : 0;
  }

  std::string path_;
  ino_t inode_;
};

// What the agent at this pin root has refused. The maps can be shown without it.
Refusals refusals_here(const CtlOptions& options) {
  auto refusals = read_refusals(options.state_dir);
  if (!refusals) complain(refusals.error());
  if (!refusals || !refusals.value() || refusals.value()->pin_root != options.pin_root) return {};
  return std::move(*refusals.value());
}

int show(const CtlOptions& options, const SnapshotParts& parts, const Refusals& refusals,
         const std::function<std::string(const Snapshot&)>& view) {
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) {
    complain(maps.error());
    return kExitCannot;
  }
  auto snapshot = first_snapshot(options, maps.value(), parts, refusals);
  if (!snapshot) {
    complain(snapshot.error());
    return kExitCannot;
  }
  return exit_after(view(snapshot.value()), kExitOk);
}

// Of a question that check_usage lets pass.
Result<std::vector<ExplainedPacket>> ask_datapath(const CtlOptions& options, const std::vector<Probe>& probes,
                                                  const ResolvedEnds& ends, const Via& via, const Snapshot& snapshot,
                                                  const DatapathMaps& maps) {
  auto stamp = stamp_settings(snapshot.node.stamp_mask);
  if (!stamp) return stamp.error();
  auto datapath = DryRun::load(options.pin_root, stamp.value());
  if (!datapath) return datapath.error();
  return explain(probes, ends, via, snapshot, maps, *datapath.value());
}

// A packet passes where it passes by one way.
bool all_pass(const std::vector<ExplainedPacket>& packets) {
  std::map<std::string, bool> passes;
  for (const ExplainedPacket& packet : packets) passes[packet.destination] |= packet_passes(packet);
  return std::all_of(passes.begin(), passes.end(), [](const auto& entry) { return entry.second; });
}

// By its lock, which is seen from any pid namespace and ends with the process.
bool agent_runs(const std::string& pin_root) {
  const auto held = is_pin_root_held(pin_root);
  return held && held.value();
}

}  // namespace

int run_status(const CtlOptions& options) {
  const Refusals refusals = refusals_here(options);
  return show(options, {.counters = true, .buckets = false, .flows = false, .fills = true}, refusals,
              [&](const Snapshot& snapshot) {
                AgentSign agent{options.pin_root, agent_runs(options.pin_root), {}, refusals};
                for (const auto& [ifindex, uplink] : snapshot.uplinks)
                  if (char name[IF_NAMESIZE]; if_indextoname(ifindex, name)) agent.interfaces[ifindex] = name;
                return show_status(snapshot, agent, options.style);
              });
}

int run_grants(const CtlOptions& options) {
  const Refusals refusals = refusals_here(options);
  return show(options, {}, refusals,
              [&](const Snapshot& snapshot) { return show_grants(snapshot, refusals, options.filter, options.style); });
}

int run_endpoints(const CtlOptions& options) {
  const Refusals refusals = refusals_here(options);
  return show(options, {}, refusals, [&](const Snapshot& snapshot) {
    return show_endpoints(snapshot, refusals, options.filter, options.style);
  });
}

int run_drops(const CtlOptions& options) {
  bool whole = true;
  const int shown = show(
      options, {.counters = true, .buckets = false, .flows = false, .fills = false}, {}, [&](const Snapshot& snapshot) {
        auto gate = read_gate_drops(options.pin_root, snapshot);
        whole = gate.ok();
        if (!whole) complain(gate.error());
        return show_drops(snapshot, gate ? gate.value() : std::vector<GateDrop>(), options.filter, options.style);
      });
  return whole ? shown : kExitCannot;
}

int run_flows(const CtlOptions& options) {
  return show(options, {.counters = false, .buckets = false, .flows = true, .fills = false}, {},
              [&](const Snapshot& snapshot) { return show_flows(snapshot, options.filter, options.style); });
}

int run_top(const CtlOptions& options, const RepeatOptions& repeat) {
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) {
    complain(maps.error());
    return kExitCannot;
  }
  const SnapshotParts parts{.counters = true, .buckets = true, .flows = false, .fills = false};
  const SamePins pins(options);
  LostBytes lost;
  auto before = first_snapshot(options, maps.value(), parts);
  if (before) lost.keep(before.value());
  for (std::uint64_t shown = 0; before && (repeat.count == 0 || shown < repeat.count); shown++) {
    std::this_thread::sleep_for(std::chrono::milliseconds(repeat.interval_ms));
    auto after = read_snapshot(maps.value(), parts);
    const auto same = pins.check();
    if (!after || !same) {
      complain(same ? after.error() : same.error());
      return kExitCannot;
    }
    lost.keep(after.value());
    const bool redraw = options.style.colour && options.style.output == Output::Table && repeat.count != 1;
    const std::string home = redraw ? "\x1b[H\x1b[2J" : "";
    if (!print(home + show_top(before.value(), after.value(), options.filter, options.style)))
      return exit_unwritten(errno);
    before = std::move(after);
  }
  if (before) return kExitOk;
  complain(before.error());
  return kExitCannot;
}

namespace {

struct Monitor {
  const CtlOptions& options;
  const DatapathMaps& maps;
  Snapshot names;
  std::uint64_t left;  // events to show; ~0: all
  int unwritten = 0;   // errno
};

int take_event(void* context, void* data, std::size_t size) {
  auto& monitor = *static_cast<Monitor*>(context);
  if (size < sizeof(grantd_event) || monitor.left == 0 || monitor.unwritten != 0) return 0;
  const auto& event = *static_cast<const grantd_event*>(data);
  if (!monitor.options.filter.accepts_grant(grant_name(monitor.names, event.slot))) return 0;
  if (!print(show_event(monitor.names, event, monitor.options.style))) monitor.unwritten = errno;
  if (monitor.left != ~0ULL) monitor.left--;
  return 0;
}

}  // namespace

// The programs wake nobody (decision 16): we look ten times a second.
int run_monitor(const CtlOptions& options, const RepeatOptions& repeat) {
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) {
    complain(maps.error());
    return kExitCannot;
  }
  const SamePins pins(options);
  auto names = first_snapshot(options, maps.value(), {});
  if (!names) {
    complain(names.error());
    return kExitCannot;
  }
  const auto sole_reader = lock_events(options.pin_root);
  if (!sole_reader) {
    complain(sole_reader.error());
    return kExitCannot;
  }
  Monitor monitor{options, maps.value(), std::move(names).value(), repeat.count ? repeat.count : ~0ULL};
  const std::unique_ptr<ring_buffer, decltype(&ring_buffer__free)> ring(
      ring_buffer__new(maps.value().event.get(), take_event, &monitor, nullptr), ring_buffer__free);
  if (!ring) {
    complain(system_error("cannot read grantd_event", errno));
    return kExitCannot;
  }
  const auto begin = std::chrono::steady_clock::now();
  while (monitor.left > 0) {
    ring_buffer__consume(ring.get());
    if (monitor.unwritten != 0) return exit_unwritten(monitor.unwritten);
    const auto passed = std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begin);
    if (repeat.seconds && static_cast<std::uint64_t>(passed.count()) >= repeat.seconds) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    names = read_snapshot(maps.value(), {});
    const auto same = pins.check();
    if (!names || !same) {
      complain(same ? names.error() : same.error());
      return kExitCannot;
    }
    monitor.names = std::move(names).value();
  }
  return kExitOk;
}

int run_explain(const CtlOptions& options, const ExplainOptions& asked) {
  const auto refuse = [](const Error& error, int code) {
    complain(error);
    return code;
  };
  const auto question = parse_question(asked.source, asked.destination);
  if (!question) return refuse(question.error(), kExitUsage);
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) return refuse(maps.error(), kExitCannot);
  const auto read = read_snapshot(maps.value(), {});
  if (!read) return refuse(read.error(), kExitCannot);
  const Snapshot& snapshot = read.value();
  const auto ends = resolve_ends(snapshot, question.value().source, question.value().destination);
  if (!ends) return refuse(ends.error(), kExitCannot);
  const Via via{asked.local, asked.via};
  if (const auto usage = check_usage(ends.value(), via, snapshot); !usage) return refuse(usage.error(), kExitUsage);
  const auto packets = ask_datapath(options, question.value().probes, ends.value(), via, snapshot, maps.value());
  if (!packets) return refuse(packets.error(), kExitCannot);
  return exit_after(show_explanation(snapshot, packets.value(), options.style),
                    all_pass(packets.value()) ? kExitOk : kExitNo);
}

}  // namespace grantd
