// Puts programs on interfaces and cgroups, and tells what the kernel really has there.
// Works in the network namespace of the caller.
#pragma once

#include "agent/attach/kept_links.h"
#include "agent/plan/attachment.h"
#include "maps/descriptor.h"
#include "maps/result.h"

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

enum class AttachMode { Auto, Tcx, Clsact };

class Attacher {
 public:
  // pin_root/links must exist for attach. Auto: a tcx link where the kernel has it, clsact where it does not,
  // found out by trying.
  // Many plugins may start guests at once, each of which holds the pins' lock for some 35 ms; `patience` is for those.
  Attacher(std::string pin_root, AttachMode mode, std::uint32_t stamp_mask = GRANTD_STAMP_MASK_DEFAULT,
           std::chrono::milliseconds patience = std::chrono::seconds(10))
      : pin_root_(std::move(pin_root)), mode_(mode), stamp_mask_(stamp_mask), patience_(patience) {}

  // Puts the program first on its hook, pins the link, and reads back what is there. Where it stands
  // already, or stood behind others, it goes on standing there until the new one is first: no packet
  // passes between. The borrowed descriptor may be closed afterwards.
  Result<void> attach(const Attachment& attachment, int program_fd, std::uint32_t program_id);
  // What is not there is no error.
  Result<void> detach(const Attachment& attachment);
  // Programs of an earlier agent on a hook of ours are replaced by these, each in one step; a guard stays until
  // attach(), as the record at its index may be of an interface before. Returns how many. To be called once, before
  // all others: it also ends what an agent that died had begun.
  Result<std::size_t> adopt(const std::map<Hook, int>& program_fds);
  // Where these programs stand. Pins of links whose interface or cgroup is
  // gone are removed; guests' interfaces in another network namespace are closed.
  Result<Attachments> present(const std::map<Hook, std::uint32_t>& program_ids);
  // Gives each link its pin again that has lost it. Which have none all the same, and so end with this process; where
  // that fails, which may.
  UnpinnedLinks pin_all();
  // Whether a program of ours, of any agent or a guard, stands first on a hook of an interface, so that it holds also
  // when whoever asks is gone.
  Result<bool> is_held(const Attachment& attachment) const;
  // Removes the pins of links whose interface or cgroup is gone.
  Result<void> remove_defunct();
  // Interfaces with links or filters of an agent with another pin root, or filters whose maps' pins are lost.
  Result<std::set<std::uint32_t>> held_by_others() const;
  // Every link and filter of ours, of any agent with this pin root; goes on after a failure and returns the first.
  // Opens the guests. To be called before the maps' pins go, by which filters are known.
  Result<void> detach_all();

  // How many links had lost their pins, and have them again, since this was asked.
  std::size_t take_lost_pins() { return kept_.take_lost_pins(); }

  const std::string& pin_root() const { return pin_root_; }
  // "tcx" or "clsact", once something was attached; "" before.
  const std::string& mechanism() const { return mechanism_; }

 private:
  Result<Descriptor> lock_pins();
  Result<void> attach_interface(const Attachment& attachment, int program_fd, std::uint32_t program_id);
  Result<void> attach_tcx(const Attachment& attachment, int program_fd, std::uint32_t program_id);
  Result<void> detach_filters(const Attachment& attachment) const;
  Result<void> free_name(const std::string& name) const;
  Result<void> replace_program(const PinnedLink& front, int program_fd) const;
  Result<Descriptor> first_link(const Attachment& attachment, int program_fd);
  Result<void> pin_new(const Attachment& attachment, Descriptor link);
  Result<void> move_to_front(const Attachment& attachment, const Descriptor& old, int program_fd);
  Result<void> attach_cgroup(const Attachment& attachment, int program_fd, std::uint32_t program_id);
  Result<bool> close_elsewhere(const PinnedLink& link) const;
  Result<std::size_t> adopt_links(const std::map<Hook, int>& program_fds);
  Result<std::size_t> adopt_filters(const std::map<Hook, int>& program_fds);
  Result<void> add_interfaces_with_links_of_others(std::set<std::uint32_t>& interfaces) const;
  std::string links() const { return pin_root_ + "/links"; }
  std::string maps_directory() const { return pin_root_ + "/maps"; }

  std::string pin_root_;
  AttachMode mode_;
  std::uint32_t stamp_mask_;
  std::chrono::milliseconds patience_;
  bool lock_missed_ = false;  // the last time that it was wanted
  std::string mechanism_;
  bool adopted_filters_ = false;
  KeptLinks kept_;
};

const char* hook_name(Hook hook);  // "from_guest": the name of the program too

}  // namespace grantd
