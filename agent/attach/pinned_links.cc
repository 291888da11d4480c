#include "agent/attach/pinned_links.h"

#include <bpf/bpf.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string_view>

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

bool is_named_for(const PinnedLink& pinned) { return name_of(pinned) == link_name(pinned.attachment); }

// What is at the wrong place makes room first, so that no name has two links.
Result<void> name_by_place(std::vector<PinnedLink>& live, const std::string& directory) {
  const auto stands_here = [](const PinnedLink& each) { return !each.away() && is_named_for(each); };
  for (PinnedLink& each : live) {
    if (!each.away() || !is_named_for(each)) continue;
    const std::string name = std::string(kAway) + link_name(each.attachment) + "-" + std::to_string(each.info.link_id);
    if (auto renamed = rename_pin(each, directory, name); !renamed) return renamed;
  }
  for (PinnedLink& each : live) {
    if (stands_here(each)) continue;
    const Attachment place = each.place();
    if (std::any_of(live.begin(), live.end(),
                    [&](const PinnedLink& other) { return stands_here(other) && other.attachment == place; }))
      continue;
    if (auto renamed = rename_pin(each, directory, link_name(place)); !renamed) return renamed;
    each.attachment = place;
  }
  return {};
}

}  // namespace

Result<std::vector<PinnedLink>> pinned_links(const std::string& directory) {
  std::vector<PinnedLink> links;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    const auto attachment = parse_pin_name(entry->path().filename().string());
    if (!attachment) continue;
    PinnedLink pinned{entry->path().string(), *attachment, open_link(entry->path()), {}};
    if (!pinned.link.valid()) {
      if (errno == ENOENT) continue;
      return system_error("cannot open " + pinned.path, errno);
    }
    auto info = link_info(pinned.link.get());
    if (!info) return info.error();
    pinned.info = info.value();
    links.push_back(std::move(pinned));
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
  if (auto named = name_by_place(live, directory); !named) return named.error();
  return live;
}

Result<std::optional<PinnedLink>> live_link(const std::string& path, const Attachment& attachment) {
  PinnedLink pinned{path, attachment, open_link(path), {}};
  if (!pinned.link.valid()) {
    if (errno == ENOENT) return std::optional<PinnedLink>();
    return system_error("cannot open " + path, errno);
  }
  auto info = link_info(pinned.link.get());
  if (!info) return info.error();
  pinned.info = info.value();
  if (pinned.defunct() || pinned.away()) return std::optional<PinnedLink>();
  return std::optional<PinnedLink>(std::move(pinned));
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

// A link that stood at the front, pinned, when an agent died before the rename.
Result<void> finish_moves(const std::string& directory) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator entry(directory, failed), end; !failed && entry != end;
       entry.increment(failed))
    if (const std::string name = entry->path().filename().string(); name.starts_with(kMoving))
      names.push_back(name.substr(kMoving.size()));
  if (failed && failed.value() != ENOENT) return system_error("cannot list " + directory, failed.value());
  for (const std::string& name : names) {
    const std::string path = directory + "/" + name, fresh = directory + "/" + std::string(kMoving) + name;
    if (std::rename(fresh.c_str(), path.c_str()) != 0) return system_error("cannot pin " + path, errno);
  }
  return {};
}

Result<void> remove_pin(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) return system_error("cannot remove " + path, errno);
  return {};
}

}  // namespace grantd
