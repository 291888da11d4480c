#include "agent/attach/kept_links.h"

#include <bpf/bpf.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>

#include <cerrno>
#include <filesystem>
#include <optional>
#include <set>
#include <utility>

namespace grantd {

namespace {

// Whoever removed it may have removed what it is in as well.
void make_directory(const std::string& directory) {
  mkdir(std::filesystem::path(directory).parent_path().c_str(), 0700);
  mkdir(directory.c_str(), 0700);
}

Result<std::optional<Attachment>> place_of(const Descriptor& link, Hook hook) {
  auto info = link_info(link.get());
  if (!info) return info.error();
  return grantd::place_of(info.value(), hook);
}

}  // namespace

Result<void> allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return system_error("cannot read the limit of descriptors", errno);
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return system_error("cannot raise the limit of descriptors", errno);
}

Result<void> KeptLinks::keep(Hook hook, const Descriptor& link) {
  auto info = link_info(link.get());
  if (!info) return info.error();
  if (const auto known = links_.find(info.value().link_id); known != links_.end()) {
    known->second.pinned = true;
    return {};
  }
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return system_error("cannot read the limit of descriptors", errno);
  // Out of the way of libraries that call select(), which knows the lowest ones only.
  Descriptor own(fcntl(link.get(), F_DUPFD_CLOEXEC, FD_SETSIZE));
  if (own.valid() && static_cast<rlim_t>(own.get()) < limit.rlim_cur / 2)
    links_.insert_or_assign(info.value().link_id, Kept{hook, std::move(own), true});
  return {};
}

Result<void> KeptLinks::keep_unpinned(Hook hook, Descriptor link) {
  auto info = link_info(link.get());
  if (!info) return info.error();
  links_.insert_or_assign(info.value().link_id, Kept{hook, std::move(link), false});
  return {};
}

Result<std::vector<PinnedLink>> KeptLinks::pin_again(const std::string& directory) {
  auto live = live_links(directory);
  if (!live) return live;
  std::set<std::uint32_t> ids;
  for (const PinnedLink& each : live.value()) ids.insert(each.info.link_id);
  bool pinned = false;
  for (auto each = links_.begin(); each != links_.end();) {
    Kept& kept = each->second;
    kept.pinned = ids.contains(each->first);
    if (kept.pinned) {
      ++each;
      continue;
    }
    auto info = link_info(kept.link.get());
    if (!info) return info.error();
    if (info.value().ifindex == 0 && info.value().cgroup_id == 0) {
      each = links_.erase(each);
      continue;
    }
    make_directory(directory);
    // Where that fails it is still held, and whoever attaches it anew says why.
    if (pin_aside(kept.link, directory, kept.hook, info.value())) {
      kept.pinned = pinned = true;
      lost_pins_++;
    }
    ++each;
  }
  if (pinned) {
    live.value().clear();
    live = live_links(directory);
  }
  if (!live) return live;
  for (const PinnedLink& each : live.value())
    if (!links_.contains(each.info.link_id))
      if (auto kept = keep(each.hook(), each.link); !kept) return kept.error();
  return live;
}

Result<Descriptor> KeptLinks::take_unpinned(const Attachment& attachment) {
  for (auto each = links_.begin(); each != links_.end(); ++each) {
    if (each->second.pinned || each->second.hook != attachment.hook) continue;
    auto place = place_of(each->second.link, attachment.hook);
    if (!place) return place.error();
    if (place.value() != attachment) continue;
    Descriptor link = std::move(each->second.link);
    links_.erase(each);
    return link;
  }
  return Descriptor();
}

Result<void> KeptLinks::detach(const Attachment& attachment) {
  for (auto each = links_.begin(); each != links_.end();) {
    auto place = place_of(each->second.link, each->second.hook);
    if (!place) return place.error();
    if (place.value() != attachment) {
      ++each;
      continue;
    }
    bpf_link_detach(each->second.link.get());
    each = links_.erase(each);
  }
  return {};
}

UnpinnedLinks KeptLinks::unpinned(const std::string& directory, std::optional<Error> failed) {
  if (failed) {
    std::set<std::uint32_t> seen;
    if (auto pins = pinned_links(directory); pins)
      for (const PinnedLink& each : pins.value()) seen.insert(each.info.link_id);
    for (auto& [id, kept] : links_) kept.pinned = seen.contains(id);
  }
  UnpinnedLinks unpinned{{}, std::move(failed)};
  for (const auto& [id, kept] : links_) {
    if (kept.pinned) continue;
    auto place = place_of(kept.link, kept.hook);
    if (place && place.value()) unpinned.places.push_back(*place.value());
    if (!place && !unpinned.error) unpinned.error = place.error();
  }
  return unpinned;
}

}  // namespace grantd
