#include "agent/attach/pinned_links.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <map>
#include <set>
#include <string_view>
#include <utility>

namespace grantd {

namespace {

// A name with this prefix is on its way to the name behind it.
constexpr std::string_view kMoving = "moving-";
// In front of the name that it had when it was displaced, and behind it the number of the link.
constexpr std::string_view kAway = "away-";

std::optional<Attachment> parse_pin_name(const std::string& name) {
  if (!name.starts_with(kAway)) return parse_link_name(name);
  return parse_link_name(name.substr(kAway.size(), name.rfind('-') - kAway.size()));
}

std::string name_of(const PinnedLink& pinned) { return std::filesystem::path(pinned.path).filename().string(); }

Result<void> rename_pin(PinnedLink& pinned, const std::string& directory, const std::string& name) {
  const std::string path = directory + "/" + name;
  if (std::rename(pinned.path.c_str(), path.c_str()) != 0)
    return system_error("cannot rename " + pinned.path + " to " + name, errno);
  pinned.path = path;
  return {};
}

std::string away_name(const Attachment& attachment, std::uint32_t link_id) {
  return std::string(kAway) + link_name(attachment) + "-" + std::to_string(link_id);
}

std::string away_name(const PinnedLink& pinned) { return away_name(pinned.attachment, pinned.info.link_id); }

// Nothing with no error where there is no link.
Result<std::optional<PinnedLink>> open_pinned(const std::string& path, const Attachment& attachment) {
  PinnedLink pinned{path, attachment, open_link(path), {}, {}};
  if (!pinned.link.valid()) {
    if (errno == ENOENT) return std::optional<PinnedLink>();
    return system_error("cannot open " + path, errno);
  }
  auto info = link_info(pinned.link.get());
  if (!info) return info.error();
  pinned.info = info.value();
  auto place = place_of(pinned.info, attachment.hook);
  if (!place) return place.error();
  pinned.place = place.value();
  return std::optional<PinnedLink>(std::move(pinned));
}

bool is_named_for(const PinnedLink& pinned) { return name_of(pinned) == link_name(pinned.attachment); }

// In which order they stand on their hook; the last for one that is not there.
Result<std::size_t> rank(const PinnedLink& pinned) {
  if (!is_interface_hook(pinned.place->hook)) return std::size_t{is_named_for(pinned) && !pinned.away() ? 0U : 1U};
  auto ids = tcx_links(pinned.place->hook, pinned.place->ifindex);
  if (!ids) return ids.error();
  return static_cast<std::size_t>(std::find(ids.value().begin(), ids.value().end(), pinned.info.link_id) -
                                  ids.value().begin());
}

// Two of ours on one hook: one that came along from another index, and one that the CNI plugin made since. The one in
// front decides; the one behind may only drop what that lets pass, and keeps its program from standing in front.
Result<void> end_doubles(std::vector<PinnedLink>& live) {
  std::map<Attachment, std::pair<std::size_t, std::size_t>> front;  // by place: its rank, and which it is
  std::vector<std::size_t> behind;
  for (std::size_t index = 0; index < live.size(); index++) {
    if (!live[index].place) continue;
    auto ranked = rank(live[index]);
    if (!ranked) return ranked.error();
    const std::pair candidate{ranked.value(), index};
    const auto [first, alone] = front.try_emplace(*live[index].place, candidate);
    if (alone) continue;
    behind.push_back(std::max(candidate, first->second).second);
    first->second = std::min(candidate, first->second);
  }
  std::sort(behind.rbegin(), behind.rend());
  std::set<std::uint32_t> in_front;
  for (const auto& [place, ranked] : front) in_front.insert(live[ranked.second].info.link_id);
  for (const std::size_t index : behind) {
    // A second pin of the link in front goes alone.
    if (!in_front.contains(live[index].info.link_id)) bpf_link_detach(live[index].link.get());
    if (auto removed = remove_pin(live[index].path); !removed) return removed;
    live.erase(live.begin() + static_cast<std::ptrdiff_t>(index));
  }
  return {};
}

// What is at the wrong place makes room first, so that no name has two links.
Result<void> name_by_place(std::vector<PinnedLink>& live, const std::string& directory) {
  const auto stands_here = [](const PinnedLink& each) { return !each.away() && is_named_for(each); };
  for (PinnedLink& each : live) {
    if (!each.away() || !is_named_for(each)) continue;
    if (auto renamed = rename_pin(each, directory, away_name(each)); !renamed) return renamed;
  }
  for (PinnedLink& each : live) {
    if (stands_here(each) || !each.place) continue;
    const Attachment place = *each.place;
    if (std::any_of(live.begin(), live.end(),
                    [&](const PinnedLink& other) { return stands_here(other) && other.attachment == place; }))
      continue;
    if (auto renamed = rename_pin(each, directory, link_name(place)); !renamed) return renamed;
    each.attachment = place;
  }
  return {};
}

}  // namespace

Hook PinnedLink::hook() const {
  return hook_of_type(info.attach_type, info.cgroup_id == 0, attachment.hook).value_or(attachment.hook);
}

Result<std::optional<Attachment>> place_of(const LinkInfo& info, Hook likely) {
  const auto hook = hook_of_type(info.attach_type, info.cgroup_id == 0, likely);
  if (!hook) return std::optional<Attachment>();
  if (info.cgroup_id != 0) return std::optional(Attachment{*hook, 0, info.cgroup_id});
  auto here = tcx_links(*hook, info.ifindex);
  if (!here) return here.error();
  const auto& ids = here.value();
  if (std::find(ids.begin(), ids.end(), info.link_id) == ids.end()) return std::optional<Attachment>();
  return std::optional(Attachment{*hook, info.ifindex, 0});
}

Result<std::vector<PinnedLink>> pinned_links(const std::string& directory) {
  std::vector<PinnedLink> links;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const auto attachment = parse_pin_name(entry->path().filename().string());
    if (!attachment) continue;
    auto pinned = open_pinned(entry->path().string(), *attachment);
    if (!pinned) return pinned.error();
    if (pinned.value()) links.push_back(std::move(*pinned.value()));
  }
  if (failed && failed.value() != ENOENT) return system_error("cannot list " + directory, failed.value());
  return links;
}

Result<std::vector<PinnedLink>> live_links(const std::string& directory) {
  auto pinned = pinned_links(directory);
  if (!pinned) return pinned.error();
  std::vector<PinnedLink> live;
  for (PinnedLink& each : pinned.value()) {
    if (!each.defunct()) {
      live.push_back(std::move(each));
    } else if (auto removed = remove_pin(each.path); !removed) {
      return removed.error();
    }
  }
  if (auto ended = end_doubles(live); !ended) return ended.error();
  if (auto named = name_by_place(live, directory); !named) return named.error();
  return live;
}

Result<std::optional<PinnedLink>> live_link(const std::string& path, const Attachment& attachment) {
  auto pinned = open_pinned(path, attachment);
  if (pinned && pinned.value() && (pinned.value()->defunct() || pinned.value()->away())) pinned.value().reset();
  return pinned;
}

Result<void> pin_over(const Descriptor& link, const std::string& directory, const std::string& name) {
  const std::string fresh = directory + "/" + std::string(kMoving) + name, path = directory + "/" + name;
  if (bpf_obj_pin(link.get(), path.c_str()) == 0) return {};
  if (errno != EEXIST) return system_error("cannot pin " + path, errno);
  if (auto removed = remove_pin(fresh); !removed) return removed;
  if (bpf_obj_pin(link.get(), fresh.c_str()) != 0) return system_error("cannot pin " + fresh, errno);
  if (std::rename(fresh.c_str(), path.c_str()) != 0) return system_error("cannot pin " + path, errno);
  return {};
}

Result<void> pin_aside(const Descriptor& link, const std::string& directory, Hook hook, const LinkInfo& info) {
  const std::string path = directory + "/" + away_name({hook, info.ifindex, info.cgroup_id}, info.link_id);
  if (bpf_obj_pin(link.get(), path.c_str()) == 0) return {};
  return system_error("cannot pin " + path, errno);
}

// A link that stood at the front, pinned, when an agent died before the rename. It takes the name from the one behind
// it only where it stands there still: since then another interface may have got the index.
Result<void> finish_moves(const std::string& directory) {
  if (auto live = live_links(directory); !live) return live.error();
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (const std::string name = entry->path().filename().string(); name.starts_with(kMoving))
      names.push_back(name.substr(kMoving.size()));
  if (failed && failed.value() != ENOENT) return system_error("cannot list " + directory, failed.value());
  for (const std::string& name : names) {
    const auto attachment = parse_link_name(name);
    if (!attachment) continue;
    auto moving = open_pinned(directory + "/" + std::string(kMoving) + name, *attachment);
    if (!moving) return moving.error();
    if (!moving.value()) continue;
    PinnedLink& pinned = *moving.value();
    auto renamed = rename_pin(pinned, directory, pinned.away() ? away_name(pinned) : name);
    if (!renamed) return renamed;
  }
  auto live = live_links(directory);
  return live ? Result<void>() : live.error();
}

Result<void> remove_pin(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("cannot remove " + path, errno);
  return {};
}

}  // namespace grantd
