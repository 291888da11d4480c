#include "agent/run/uninstall.h"

#include "agent/attach/attacher.h"
#include "agent/attach/interface_mark.h"
#include "agent/attach/interface_name.h"
#include "agent/attach/interface_switch.h"
#include "agent/attach/pin_lock.h"
#include "agent/cni/chain_keeper.h"
#include "agent/gate/gate.h"
#include "agent/handover/cni_record.h"
#include "agent/handover/guest_namespaces.h"
#include "agent/handover/refusals.h"
#include "agent/handover/run_settings.h"
#include "agent/node/interfaces.h"
#include "agent/shape/guest_segments.h"
#include "agent/shape/shaper.h"

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <optional>

namespace grantd {

namespace fs = std::filesystem;

namespace {

Result<void> remove_tree(const std::string& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  if (failed) return system_error("cannot remove " + path, failed.value());
  return {};
}

// Of guests that are still held. One that cannot be reached stays as it is, and is none the worse for it.
void restore_segments(const Attacher& attacher) {
  const auto interfaces = read_interfaces();
  if (!interfaces) return;
  for (const InterfaceFact& each : interfaces.value()) {
    if (!has_segments(each) || each.peer_segments == kAllSegments) continue;
    const auto held = attacher.is_held({Hook::FromGuest, each.ifindex, 0});
    if (held && held.value()) static_cast<void>(set_segments(each, kAllSegments).ok());
  }
}

// Those that could not be attached are closed by being down.
Result<void> open_marked_interfaces(const std::string& pin_root) {
  auto marked = marked_interfaces(pin_root);
  if (!marked) return marked.error();
  for (const std::uint32_t ifindex : marked.value()) {
    if (auto opened = switch_interface(ifindex, true); !opened) return opened;
    if (auto unmarked = unmark_interface(pin_root, ifindex); !unmarked) return unmarked;
  }
  return {};
}

bool has_maps(const std::string& pin_root) {
  std::error_code failed;
  const fs::directory_iterator maps(pin_root + "/maps", failed);
  return !failed && std::any_of(begin(maps), end(maps), [](const auto& each) { return !each.is_directory(); });
}

// A wrong pin root must not open the guests of another one.
Result<void> leaves_no_other(const Attacher& attacher, const std::string& pin_root) {
  if (has_maps(pin_root)) return {};
  auto others = attacher.held_by_others();
  if (!others || others.value().empty()) return others ? Result<void>() : others.error();
  std::string interfaces;
  for (const std::uint32_t ifindex : others.value())
    interfaces += (interfaces.empty() ? "" : ", ") + interface_name(ifindex);
  return Error{"pin root " + pin_root +
                   ": holds no maps, and programs of grantd with another pin root, or with none, " +
                   "stand on interfaces " + interfaces + "; accepted: the pin root that they belong to; where its " +
                   "pins are lost, start grantd once, which takes them over",
               0};
}

// Its nftables are another network namespace's then, and would go on dropping all that the guests send.
Result<void> is_its_network(const std::string& pin_root, const std::string& state_dir) {
  if (!has_maps(pin_root)) return {};              // the node has booted since: nothing of it is left
  const auto told = read_run_settings(state_dir);  // a damaged one says nothing
  if (!told || !told.value() || told.value()->pin_root != pin_root ||
      told.value()->network_namespace == own_network_namespace())
    return {};
  return Error{"this is another network namespace than the agent's; accepted: its own; where that is gone, without " +
                   run_settings_path(state_dir),
               0};
}

// A file, and what it is written to before it takes the name.
Result<void> remove_state_file(const std::string& path) {
  if (auto removed = remove_tree(path); !removed) return removed;
  return remove_tree(path + ".new");
}

}  // namespace

Result<void> uninstall(const Settings& settings) {
  const std::string &pin_root = settings.pin_root, &state_dir = settings.state_dir;
  Attacher attacher(pin_root, AttachMode::Auto);
  if (auto ours = leaves_no_other(attacher, pin_root); !ours) return ours;
  if (auto here = is_its_network(pin_root, state_dir); !here) return here;
  std::error_code failed;
  // Another agent's memory must not go, whatever its pin root.
  std::optional<Result<Descriptor>> state;
  if (fs::exists(state_dir, failed)) state = lock_state_dir(state_dir);
  if (state && !*state) return state->error();
  // Also where there is nothing yet: an agent may be about to start. Where nothing can be pinned none can.
  const auto lock = lock_pin_root(pin_root);
  if (!lock && (lock.error().error_number == EWOULDBLOCK || fs::exists(pin_root, failed))) return lock.error();
  if (!settings.cni_conf_dir.empty())
    if (auto removed = remove_chain(settings.cni_conf_dir, settings.cni_bin_dir); !removed) return removed;
  restore_segments(attacher);
  if (auto detached = attacher.detach_all(); !detached) return detached;
  if (auto removed = Gate(pin_root, GRANTD_STAMP_MASK_DEFAULT).remove(); !removed) return removed;
  if (auto opened = open_marked_interfaces(pin_root); !opened) return opened;
  if (auto removed = remove_shaper(pin_root); !removed) return removed;
  // Only what is ours: a directory itself goes when nothing else is in it.
  for (const char* part : {"/links", "/programs", "/maps", "/stamps"})
    if (auto removed = remove_tree(pin_root + part); !removed) return removed;
  fs::remove(pin_root, failed);
  for (const char* file : {"/latches.json", "/last-good"})
    if (auto removed = remove_state_file(state_dir + file); !removed) return removed;
  for (const std::string& path :
       {guest_namespaces_path(state_dir), refusals_path(state_dir), run_settings_path(state_dir)})
    if (auto removed = remove_state_file(path); !removed) return removed;
  if (auto removed = remove_cni_records(settings.cni_records); !removed) return removed;
  fs::remove(state_dir, failed);
  return {};
}

}  // namespace grantd
