#include "agent/attach/attacher.h"

#include "agent/attach/clsact.h"
#include "agent/attach/links.h"
#include "agent/attach/pin_lock.h"

#include <bpf/bpf.h>
#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <optional>

namespace grantd {

namespace {

// The name of a loaded program; "" where it is gone.
std::string program_name(std::uint32_t id) {
  const Descriptor program(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return "";
  return info.name;
}

// Which of our hooks a program on one side of an interface is; by its name, which the kernel keeps.
std::optional<Hook> hook_of(const std::string& name, bool egress) {
  for (Hook hook : {Hook::FromGuest, Hook::ToGuest, Hook::FromUplink, Hook::FromQueue})
    if (name == hook_name(hook) && egress == (hook == Hook::ToGuest)) return hook;
  return std::nullopt;
}

std::optional<Hook> hook_of(const ClsactFilter& filter) { return hook_of(filter.program_name, filter.egress); }

// A guard works on no maps, and so on no record: it says nothing about whose interface it closes.
class GuardTags {
 public:
  explicit GuardTags(std::uint32_t stamp_mask) : stamp_mask_(stamp_mask) {}

  // What cannot be told is taken for a guard: attach() puts ours in its place.
  Result<bool> has(const std::string& tag, Hook hook) {
    auto known = tags_.find(hook);
    if (known == tags_.end()) {
      auto guard = load_guard(hook, stamp_mask_);
      if (!guard) return guard.error();
      known = tags_.emplace(hook, program_tag(guard.value().get())).first;
    }
    return tag.empty() || known->second.empty() || tag == known->second;
  }

 private:
  const std::uint32_t stamp_mask_;
  std::map<Hook, std::string> tags_;  // a load for each hook, however many links there are
};

std::set<std::uint32_t> pinned_maps(const std::string& directory) {
  std::set<std::uint32_t> ids;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const Descriptor map(bpf_obj_get(entry->path().c_str()));
    bpf_map_info info{};
    __u32 length = sizeof(info);
    if (map.valid() && bpf_obj_get_info_by_fd(map.get(), &info, &length) == 0) ids.insert(info.id);
  }
  return ids;
}

// Whether a filter's program works on maps, and on none of these: it is an agent's with another pin root, or its
// pins are lost. A guard has no maps.
bool is_of_another(const ClsactFilter& filter, const std::set<std::uint32_t>& maps) {
  const auto own = maps_of_program(Descriptor(bpf_prog_get_fd_by_id(filter.program_id)).get());
  return !own.empty() && std::none_of(own.begin(), own.end(), [&](std::uint32_t id) { return maps.contains(id); });
}

Result<bool> is_first(const Attachment& attachment, std::uint32_t program_id) {
  auto programs = tcx_programs(attachment.hook, attachment.ifindex);
  if (!programs) return programs.error();
  return !programs.value().empty() && programs.value().front() == program_id;
}

// All of tcx runs before all filters.
Result<bool> is_first_of_all(const ClsactFilter& filter, Hook hook) {
  if (!filter.first) return false;
  auto before = tcx_programs(hook, filter.ifindex);
  if (!before) return before.error();
  return before.value().empty();
}

Error not_there(const Attachment& attachment) {
  const bool interface = is_interface_hook(attachment.hook);
  return Error{std::string(hook_name(attachment.hook)) + (interface ? " on interface " : " on cgroup ") +
                   std::to_string(interface ? attachment.ifindex : attachment.cgroup_id) +
                   (interface ? ": is not the first program" : ": is not the program") + " after it was attached",
               0};
}

// Whether the hook went away under us.
bool is_gone(int error_number) { return error_number == ENOLINK || error_number == ENODEV; }

// In another network namespace its program goes on under an index that may be another guest's here: it would be judged
// as that one. A guard in its stead drops all; where it comes back, ours is attached again.
bool is_elsewhere(const PinnedLink& link) { return !link.place && is_guest_hook(link.hook()); }

// Whether its program is this one now; not where its hook went away under us.
Result<bool> replace(const PinnedLink& link, int program_fd) {
  if (bpf_link_update(link.link.get(), program_fd, nullptr) == 0) return true;
  if (is_gone(errno)) return false;
  return system_error("cannot replace the program of " + link.path, errno);
}

}  // namespace

// Who was waited for in vain hangs: what else there is to do does not wait for it as long again.
Result<Descriptor> Attacher::lock_pins() {
  constexpr std::chrono::milliseconds kOnceMissed{50};
  auto lock = lock_links(links(), lock_missed_ ? std::min(kOnceMissed, patience_) : patience_);
  lock_missed_ = !lock && lock.error().error_number == EWOULDBLOCK;
  return lock;
}

Result<void> Attacher::attach(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  auto lock = lock_pins();
  if (!lock) return lock.error();
  if (!is_interface_hook(attachment.hook)) return attach_cgroup(attachment, program_fd, program_id);
  return attach_interface(attachment, program_fd, program_id);
}

Result<void> Attacher::attach_interface(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  // A filter does not get before a link of ours that stands there already.
  auto linked = live_link(links() + "/" + link_name(attachment), attachment);
  if (!linked) return linked.error();
  if (mode_ == AttachMode::Clsact && linked.value()) return attach_tcx(attachment, program_fd, program_id);
  if (mode_ != AttachMode::Clsact) {
    auto attached = attach_tcx(attachment, program_fd, program_id);
    // A filter of an agent before us would judge each packet once more.
    if (attached && adopted_filters_) attached = detach_filters(attachment);
    // The guard of a grantd-cni that was told of clsact would go on dropping behind ours. No reason to set a guest
    // down.
    if (attached && !adopted_filters_ && is_guest_hook(attachment.hook)) (void)detach_filters(attachment).ok();
    if (attached) mechanism_ = "tcx";
    if (attached || has_tcx()) return attached;
    if (mode_ == AttachMode::Tcx)
      return Error{"interface " + std::to_string(attachment.ifindex) + ": this kernel has no tcx", 0};
    mode_ = AttachMode::Clsact;
  }
  auto attached = attach_filter(attachment.ifindex, attachment.hook == Hook::ToGuest, program_fd, program_id);
  if (!attached) return attached;
  mechanism_ = "clsact";
  auto before = tcx_programs(attachment.hook, attachment.ifindex);
  if (!before) return before.error();
  if (before.value().empty()) return {};
  return Error{std::string(hook_name(attachment.hook)) + " on interface " + std::to_string(attachment.ifindex) +
                   ": tcx program " + std::to_string(before.value().front()) +
                   " of somebody else runs before the filter; accepted: --attach auto or tcx",
               0};
}

Result<void> Attacher::detach_filters(const Attachment& attachment) const {
  auto filters = filters_on(attachment.ifindex, attachment.hook == Hook::ToGuest);
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    if (hook_of(filter) == attachment.hook)
      if (auto detached = detach_filter(filter); !detached) return detached;
  return {};
}

Result<void> Attacher::attach_tcx(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  const std::string name = link_name(attachment);
  auto old = live_link(links() + "/" + name, attachment);
  if (!old) return old.error();
  if (!old.value()) {
    if (auto freed = free_name(name); !freed) return freed;
    auto link = first_link(attachment, program_fd);
    if (!link) return link.error();
    if (auto pinned = pin_new(attachment, std::move(link).value()); !pinned) return pinned;
  } else {
    auto first = is_first(attachment, old.value()->info.program_id);
    if (!first) return first.error();
    if (!first.value()) {
      if (auto moved = move_to_front(attachment, old.value()->link, program_fd); !moved) return moved;
    } else if (auto replaced = replace_program(*old.value(), program_fd); !replaced) {
      return replaced;
    }
  }
  auto first = is_first(attachment, program_id);
  if (!first) return first.error();
  return first.value() ? Result<void>() : not_there(attachment);
}

// A guest that has been closed stays so, also where there can be no pin.
Result<void> Attacher::pin_new(const Attachment& attachment, Descriptor link) {
  auto pinned = pin_over(link, links(), link_name(attachment));
  auto kept = pinned ? kept_.keep(attachment.hook, link) : kept_.keep_unpinned(attachment.hook, std::move(link));
  return pinned ? kept : pinned;
}

// A link that bears the name and stands elsewhere must not end with it.
Result<void> Attacher::free_name(const std::string& name) const {
  if (access((links() + "/" + name).c_str(), F_OK) != 0) return {};
  auto live = live_links(links());
  return live ? Result<void>() : live.error();
}

// A hook takes a program once only: where it stands there by a link that came along from another index, behind one that
// was made since, as by the CNI plugin, the one behind ends first.
Result<void> Attacher::replace_program(const PinnedLink& front, int program_fd) const {
  if (bpf_link_update(front.link.get(), program_fd, nullptr) == 0) return {};
  const int failed = errno;
  if (failed != EEXIST) return system_error("cannot replace the program of " + front.path, failed);
  if (auto live = live_links(links()); !live) return live.error();
  if (bpf_link_update(front.link.get(), program_fd, nullptr) == 0) return {};
  return system_error("cannot replace the program of " + front.path, errno);
}

Result<Descriptor> Attacher::first_link(const Attachment& attachment, int program_fd) {
  auto kept = kept_.take_unpinned(attachment);
  if (!kept) return kept.error();
  if (kept.value().valid()) {
    if (bpf_link_update(kept.value().get(), program_fd, nullptr) == 0) return kept;
    Error error = system_error("cannot replace the program of " + link_name(attachment), errno);
    if (auto still = kept_.keep_unpinned(attachment.hook, std::move(kept).value()); !still) return still.error();
    return error;
  }
  auto created = create_tcx_link(attachment.hook, attachment.ifindex, program_fd);
  if (created || created.error().error_number != EEXIST) return created;
  // Its link came with it from another index: from now on it is found by its name.
  if (auto live = live_links(links()); !live) return live.error();
  auto came = live_link(links() + "/" + link_name(attachment), attachment);
  if (!came) return came.error();
  if (!came.value()) return created.error();
  return std::move(came.value()->link);
}

// A hook takes a program once only, so a guard goes to the front, our old link ends, and the guard's link gets
// our program. Whoever dies in between leaves the guard.
Result<void> Attacher::move_to_front(const Attachment& attachment, const Descriptor& old, int program_fd) {
  const std::string name = link_name(attachment);
  auto guard = load_guard(attachment.hook, stamp_mask_);
  if (!guard) return guard.error();
  auto link = create_tcx_link(attachment.hook, attachment.ifindex, guard.value().get());
  if (!link) return link.error();
  if (auto pinned = pin_over(link.value(), links(), name); !pinned) return pinned;
  bpf_link_detach(old.get());  // before its last descriptor goes, which the caller holds
  if (bpf_link_update(link.value().get(), program_fd, nullptr) != 0)
    return system_error("cannot replace the guard of " + name, errno);
  return kept_.keep(attachment.hook, link.value());
}

Result<void> Attacher::attach_cgroup(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  const std::string name = link_name(attachment), path = links() + "/" + name;
  auto old = live_link(path, attachment);
  if (!old) return old.error();
  if (old.value()) {
    if (bpf_link_update(old.value()->link.get(), program_fd, nullptr) != 0)
      return system_error("cannot replace the program of " + path, errno);
  } else {
    if (auto freed = free_name(name); !freed) return freed;
    auto link = kept_.take_unpinned(attachment);
    if (link && !link.value().valid()) link = create_cgroup_link(attachment.hook, attachment.cgroup_id, program_fd);
    if (!link) return link.error();
    if (auto pinned = pin_new(attachment, std::move(link).value()); !pinned) return pinned;
  }
  auto there = live_link(path, attachment);
  if (!there) return there.error();
  return there.value() && there.value()->info.program_id == program_id ? Result<void>() : not_there(attachment);
}

Result<void> Attacher::detach(const Attachment& attachment) {
  auto lock = lock_pins();
  if (!lock) return lock.error();
  if (auto detached = kept_.detach(attachment); !detached) return detached;
  auto live = live_links(links());
  if (!live) return live.error();
  for (const PinnedLink& each : live.value()) {
    if (each.place != attachment) continue;
    bpf_link_detach(each.link.get());
    if (auto removed = remove_pin(each.path); !removed) return removed;
  }
  return is_interface_hook(attachment.hook) ? detach_filters(attachment) : Result<void>();
}

Result<std::size_t> Attacher::adopt(const std::map<Hook, int>& program_fds) {
  auto lock = lock_pins();
  if (!lock) return lock.error();
  if (auto finished = finish_moves(links()); !finished) return finished.error();
  auto adopted_links = adopt_links(program_fds);
  if (!adopted_links) return adopted_links.error();
  auto adopted_filters = adopt_filters(program_fds);
  if (!adopted_filters) return adopted_filters.error();
  return adopted_links.value() + adopted_filters.value();
}

Result<std::size_t> Attacher::adopt_links(const std::map<Hook, int>& program_fds) {
  std::size_t adopted = 0;
  GuardTags guards(stamp_mask_);
  auto pinned = kept_.pin_again(links());
  if (!pinned) return pinned.error();
  for (const PinnedLink& each : pinned.value()) {
    if (is_interface_hook(each.hook()) && !is_elsewhere(each)) {
      auto guard = guards.has(tag_of_link(each.link), each.hook());
      if (!guard) return guard.error();
      if (guard.value()) continue;
    }
    auto replaced = is_elsewhere(each) ? close_elsewhere(each) : replace(each, program_fds.at(each.hook()));
    if (!replaced) return replaced.error();
    if (!replaced.value()) continue;
    if (is_interface_hook(each.hook())) mechanism_ = "tcx";
    adopted++;
  }
  return adopted;
}

Result<std::size_t> Attacher::adopt_filters(const std::map<Hook, int>& program_fds) {
  std::size_t adopted = 0;
  GuardTags guards(stamp_mask_);
  auto filters = all_filters();
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value()) {
    const auto hook = hook_of(filter);
    if (!hook) continue;
    adopted_filters_ = true;
    auto guard = guards.has(filter.program_tag, *hook);
    if (!guard) return guard.error();
    if (guard.value()) continue;
    if (auto replaced = replace_filter(filter, program_fds.at(*hook)); !replaced) {
      if (is_gone(replaced.error().error_number)) continue;
      return replaced.error();
    }
    mechanism_ = "clsact";
    adopted++;
  }
  return adopted;
}

Result<bool> Attacher::close_elsewhere(const PinnedLink& link) const {
  auto guard = load_guard(link.hook(), stamp_mask_);
  return guard ? replace(link, guard.value().get()) : guard.error();
}

Result<Attachments> Attacher::present(const std::map<Hook, std::uint32_t>& program_ids) {
  auto lock = lock_pins();
  if (!lock) return lock.error();
  Attachments standing;
  auto pinned = kept_.pin_again(links());
  if (!pinned) return pinned.error();
  for (const PinnedLink& each : pinned.value()) {
    const std::uint32_t id = program_ids.at(each.hook());
    if (each.info.program_id != id) continue;
    if (each.away()) {
      if (is_elsewhere(each))
        if (auto closed = close_elsewhere(each); !closed) return closed.error();
      continue;
    }
    if (is_interface_hook(each.attachment.hook)) {
      auto first = is_first(each.attachment, id);
      if (!first) return first.error();
      if (!first.value()) {
        standing.behind.insert(each.attachment);
        continue;
      }
    }
    standing.first.insert(each.attachment);
  }
  auto filters = all_filters();
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    for (const auto& [hook, id] : program_ids) {
      if (!is_interface_hook(hook) || filter.program_id != id || filter.egress != (hook == Hook::ToGuest)) continue;
      auto first = is_first_of_all(filter, hook);
      if (!first) return first.error();
      const Attachment attachment{hook, filter.ifindex, 0};
      // Two of one hook, by an agent that died while it moved to the front: to attach it ends the later one.
      const bool twice = standing.first.erase(attachment) > 0;
      (first.value() && !twice ? standing.first : standing.behind).insert(attachment);
    }
  return standing;
}

UnpinnedLinks Attacher::pin_all() {
  auto lock = lock_pins();
  if (!lock) return kept_.unpinned(links(), lock.error());
  auto pinned = kept_.pin_again(links());
  return kept_.unpinned(links(), pinned ? std::nullopt : std::optional<Error>(pinned.error()));
}

Result<bool> Attacher::is_held(const Attachment& attachment) const {
  auto link = live_link(links() + "/" + link_name(attachment), attachment);
  if (!link) return link.error();
  if (link.value()) return is_first(attachment, link.value()->info.program_id);
  auto filters = filters_on(attachment.ifindex, attachment.hook == Hook::ToGuest);
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    if (hook_of(filter) == attachment.hook) return is_first_of_all(filter, attachment.hook);
  return false;
}

Result<void> Attacher::remove_defunct() {
  auto lock = lock_pins();
  if (!lock) return lock.error();
  auto live = live_links(links());
  return live ? Result<void>() : live.error();
}

Result<std::set<std::uint32_t>> Attacher::held_by_others() const {
  auto filters = all_filters();
  if (!filters) return filters.error();
  const auto maps = pinned_maps(maps_directory());
  std::set<std::uint32_t> interfaces;
  for (const ClsactFilter& filter : filters.value())
    if (hook_of(filter) && is_of_another(filter, maps)) interfaces.insert(filter.ifindex);
  if (auto found = add_interfaces_with_links_of_others(interfaces); !found) return found.error();
  return interfaces;
}

// A link that stands has a pin, so one without a pin here has it elsewhere.
Result<void> Attacher::add_interfaces_with_links_of_others(std::set<std::uint32_t>& interfaces) const {
  auto pinned = pinned_links(links());
  if (!pinned) return pinned.error();
  std::set<std::uint32_t> own;
  for (const PinnedLink& each : pinned.value()) own.insert(each.info.link_id);
  const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> all(if_nameindex(), if_freenameindex);
  if (!all) return system_error("cannot list the interfaces", errno);
  for (const struct if_nameindex* each = all.get(); each->if_index != 0; each++)
    for (const Hook side : {Hook::FromGuest, Hook::ToGuest}) {
      auto there = on_tcx(side, each->if_index);
      if (!there) return there.error();
      const auto& [programs, links] = there.value();
      for (std::size_t i = 0; i < programs.size(); i++)
        if (links[i] != 0 && !own.contains(links[i]) && hook_of(program_name(programs[i]), side == Hook::ToGuest))
          interfaces.insert(each->if_index);
    }
  return {};
}

Result<void> Attacher::detach_all() {
  Result<void> first_failure;
  const auto note = [&](const Result<void>& done) {
    if (!done && first_failure) first_failure = done;
  };
  auto lock = lock_pins();
  if (!lock) note(lock.error());
  if (auto finished = finish_moves(links()); !finished) note(finished);
  if (auto pinned = pinned_links(links()); !pinned) {
    note(pinned.error());
  } else {
    for (const PinnedLink& each : pinned.value()) {
      bpf_link_detach(each.link.get());
      note(remove_pin(each.path));
    }
  }
  auto filters = all_filters();
  if (!filters) return first_failure ? filters.error() : first_failure;
  const auto maps = pinned_maps(maps_directory());
  for (const ClsactFilter& filter : filters.value()) {
    if (!hook_of(filter) || is_of_another(filter, maps)) continue;
    note(detach_filter(filter));
    note(remove_empty_clsact(filter.ifindex));
  }
  return first_failure;
}

}  // namespace grantd
