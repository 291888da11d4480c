#include "agent/attach/kept_links.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/select.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace grantd {

namespace {

constexpr std::size_t kMostOfLow = 256;  // of descriptors that others need too

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
  if (links_.contains(info.value().link_id)) return {};
  // Out of the way of libraries that call select(), which knows the lowest ones only.
  Descriptor own(fcntl(link.get(), F_DUPFD_CLOEXEC, FD_SETSIZE));
  if (!own.valid() && links_.size() < kMostOfLow) own = Descriptor(fcntl(link.get(), F_DUPFD_CLOEXEC, 0));
  if (own.valid()) links_.insert_or_assign(info.value().link_id, Kept{hook, std::move(own)});
  return {};
}

Result<void> KeptLinks::keep_unpinned(Hook hook, Descriptor link) {
  auto info = link_info(link.get());
  if (!info) return info.error();
  links_.insert_or_assign(info.value().link_id, Kept{hook, std::move(link)});
  return {};
}

Result<std::vector<PinnedLink>> KeptLinks::pin_again(const std::string& directory) {
  auto live = live_links(directory);
  if (!live) return live;
  bool pinned = false;
  for (auto each = links_.begin(); each != links_.end();) {
    const auto& [id, kept] = *each;
    if (std::any_of(live.value().begin(), live.value().end(),
                    [&, link_id = id](const PinnedLink& other) { return other.info.link_id == link_id; })) {
      ++each;
      continue;
    }
    auto info = link_info(kept.link.get());
    if (!info) return info.error();
    if (info.value().ifindex == 0 && info.value().cgroup_id == 0) {
      each = links_.erase(each);
      continue;
    }
    // Where that fails it is still held, and whoever attaches it anew says why.
    if (pin_aside(kept.link, directory, kept.hook, info.value())) {
      pinned = true;
      lost_pins_++;
    }
    ++each;
  }
  if (pinned) live = live_links(directory);
  if (!live) return live;
  for (const PinnedLink& each : live.value()) {
    if (links_.contains(each.info.link_id)) continue;
    if (auto kept = keep(each.hook(), each.link); !kept) return kept.error();
  }
  return live;
}

Result<Descriptor> KeptLinks::take(const Attachment& attachment) {
  for (auto each = links_.begin(); each != links_.end(); ++each) {
    if (each->second.hook != attachment.hook) continue;
    auto info = link_info(each->second.link.get());
    if (!info) return info.error();
    auto place = place_of(info.value(), attachment.hook);
    if (!place) return place.error();
    if (place.value() != attachment) continue;
    Descriptor link = std::move(each->second.link);
    links_.erase(each);
    return link;
  }
  return Descriptor();
}

}  // namespace grantd
