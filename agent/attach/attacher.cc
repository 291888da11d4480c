#include "agent/attach/attacher.h"

#include "agent/attach/clsact.h"
#include "agent/attach/links.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <functional>

namespace grantd {

namespace {

struct PinnedLink {
  std::string path;
  Attachment attachment;
  Descriptor link;
  LinkInfo info;
  // The interface or cgroup that it was made for is there no more.
  bool defunct() const {
    return is_interface_hook(attachment.hook) ? info.ifindex != attachment.ifindex
                                              : info.cgroup_id != attachment.cgroup_id;
  }
};

Result<std::vector<PinnedLink>> pinned_links(const std::string& directory) {
  std::vector<PinnedLink> links;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const auto attachment = parse_link_name(entry->path().filename().string());
    if (!attachment) continue;
    PinnedLink pinned{entry->path().string(), *attachment, Descriptor(bpf_obj_get(entry->path().c_str())), {}};
    if (!pinned.link.valid()) {
      if (errno == ENOENT) continue;
      return system_error("cannot open " + pinned.path, errno);
    }
    auto info = link_info(pinned.link.get());
    if (!info) return info.error();
    pinned.info = info.value();
    links.push_back(std::move(pinned));
  }
  if (failed) return system_error("cannot list " + directory, failed.value());
  return links;
}

Result<void> remove_pin(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("cannot remove " + path, errno);
  return {};
}

// The name of a loaded program; "" where it is gone.
std::string program_name(std::uint32_t id) {
  const Descriptor program(bpf_prog_get_fd_by_id(id));
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  if (!program.valid() || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) return "";
  return info.name;
}

// Which of our hooks a filter is; by the program's name, which the kernel keeps.
std::optional<Hook> hook_of(const ClsactFilter& filter) {
  const std::string name = program_name(filter.program_id);
  for (Hook hook : {Hook::FromGuest, Hook::ToGuest, Hook::FromUplink})
    if (name == hook_name(hook) && filter.egress == (hook == Hook::ToGuest)) return hook;
  return std::nullopt;
}

bool says_unsupported(int error_number) { return error_number == EINVAL || error_number == EOPNOTSUPP; }

}  // namespace

std::string Attacher::pin(const Attachment& attachment) const {
  return pin_root_ + "/links/" + link_name(attachment);
}

Result<int> Attacher::guard() {
  if (!guard_.valid()) {
    auto loaded = load_dropping_program();
    if (!loaded) return loaded.error();
    guard_ = std::move(loaded).value();
  }
  return guard_.get();
}

Result<void> Attacher::attach(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  if (!is_interface_hook(attachment.hook)) return attach_cgroup(attachment, program_fd);
  return attach_interface(attachment, program_fd, program_id);
}

Result<void> Attacher::attach_interface(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  if (mode_ != AttachMode::Clsact) {
    auto attached = attach_tcx(attachment, program_fd, program_id);
    if (!attached) return attached.error();
    if (attached.value()) return {};
    if (mode_ == AttachMode::Tcx)
      return Error{"interface " + std::to_string(attachment.ifindex) + ": this kernel has no tcx", 0};
    mode_ = AttachMode::Clsact;
  }
  auto attached = attach_filter(attachment.ifindex, attachment.hook == Hook::ToGuest, program_fd, program_id);
  if (attached) mechanism_ = "clsact";
  return attached;
}

// False where the kernel has no tcx. Where others stand before us, a guard holds the interface closed
// while our link moves to the front.
Result<bool> Attacher::attach_tcx(const Attachment& attachment, int program_fd, std::uint32_t program_id) {
  const std::string path = pin(attachment);
  Descriptor guard_link;
  if (const Descriptor old(bpf_obj_get(path.c_str())); old.valid()) {
    auto info = link_info(old.get());
    if (!info) return info.error();
    if (info.value().ifindex == attachment.ifindex && attachment.hook != Hook::FromUplink) {
      auto program = guard();
      if (!program) return program.error();
      auto held = create_tcx_link(attachment.hook, attachment.ifindex, program.value());
      if (!held) return held.error();
      guard_link = std::move(held).value();
    }
    if (auto removed = remove_pin(path); !removed) return removed.error();
    bpf_link_detach(old.get());  // a defunct one cannot be detached, and need not
  }
  auto link = create_tcx_link(attachment.hook, attachment.ifindex, program_fd);
  if (!link) {
    if (says_unsupported(link.error().error_number)) return false;
    return link.error();
  }
  if (bpf_obj_pin(link.value().get(), path.c_str()) != 0) return system_error("cannot pin " + path, errno);
  auto programs = tcx_programs(attachment.hook, attachment.ifindex);
  if (!programs) return programs.error();
  if (programs.value().empty() || programs.value().front() != program_id)
    return Error{"interface " + std::to_string(attachment.ifindex) + ": " + hook_name(attachment.hook) +
                     " is not the first program after it was attached",
                 0};
  mechanism_ = "tcx";
  return true;
}

Result<void> Attacher::attach_cgroup(const Attachment& attachment, int program_fd) {
  const std::string path = pin(attachment);
  if (auto removed = remove_pin(path); !removed) return removed;
  auto link = create_cgroup_link(attachment.hook, attachment.cgroup_id, program_fd);
  if (!link) return link.error();
  if (bpf_obj_pin(link.value().get(), path.c_str()) != 0) return system_error("cannot pin " + path, errno);
  return {};
}

Result<void> Attacher::detach(const Attachment& attachment) {
  const std::string path = pin(attachment);
  if (const Descriptor link(bpf_obj_get(path.c_str())); link.valid()) bpf_link_detach(link.get());
  if (auto removed = remove_pin(path); !removed) return removed;
  if (!is_interface_hook(attachment.hook)) return {};
  auto filters = clsact_filters();
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    if (filter.ifindex == attachment.ifindex && hook_of(filter) == attachment.hook)
      if (auto detached = detach_filter(filter.ifindex, filter.egress); !detached) return detached;
  return {};
}

Result<std::size_t> Attacher::adopt(const std::map<Hook, int>& program_fds) {
  std::size_t adopted = 0;
  auto links = pinned_links(pin_root_ + "/links");
  if (!links) return links.error();
  for (const PinnedLink& pinned : links.value()) {
    if (pinned.defunct()) continue;
    if (bpf_link_update(pinned.link.get(), program_fds.at(pinned.attachment.hook), nullptr) != 0)
      return system_error("cannot replace the program of " + pinned.path, errno);
    if (is_interface_hook(pinned.attachment.hook)) mechanism_ = "tcx";
    adopted++;
  }
  auto filters = clsact_filters();
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value()) {
    const auto hook = hook_of(filter);
    if (!hook) continue;
    const int fd = program_fds.at(*hook);
    bpf_prog_info info{};
    __u32 length = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return system_error("cannot read a program's id", errno);
    if (auto replaced = attach_filter(filter.ifindex, filter.egress, fd, info.id); !replaced) return replaced.error();
    mechanism_ = "clsact";
    adopted++;
  }
  return adopted;
}

Result<std::set<Attachment>> Attacher::present(const std::map<Hook, std::uint32_t>& program_ids) {
  std::set<Attachment> attachments;
  auto links = pinned_links(pin_root_ + "/links");
  if (!links) return links.error();
  for (const PinnedLink& pinned : links.value()) {
    if (pinned.defunct()) {
      if (auto removed = remove_pin(pinned.path); !removed) return removed.error();
      continue;
    }
    const std::uint32_t id = program_ids.at(pinned.attachment.hook);
    if (pinned.info.program_id != id) continue;
    if (is_interface_hook(pinned.attachment.hook)) {
      auto programs = tcx_programs(pinned.attachment.hook, pinned.attachment.ifindex);
      if (!programs) return programs.error();
      if (programs.value().empty() || programs.value().front() != id) continue;
    }
    attachments.insert(pinned.attachment);
  }
  auto filters = clsact_filters();
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    for (Hook hook : {Hook::FromGuest, Hook::ToGuest, Hook::FromUplink})
      if (filter.program_id == program_ids.at(hook) && filter.egress == (hook == Hook::ToGuest))
        attachments.insert({hook, filter.ifindex, 0});
  return attachments;
}

Result<void> Attacher::detach_all() {
  auto links = pinned_links(pin_root_ + "/links");
  if (!links) return links.error();
  for (const PinnedLink& pinned : links.value()) {
    bpf_link_detach(pinned.link.get());
    if (auto removed = remove_pin(pinned.path); !removed) return removed;
  }
  auto filters = clsact_filters();
  if (!filters) return filters.error();
  for (const ClsactFilter& filter : filters.value())
    if (hook_of(filter))
      if (auto detached = detach_filter(filter.ifindex, filter.egress); !detached) return detached;
  return {};
}

}  // namespace grantd
