#include "crd-sync/directory_watch.h"

#include "crd-sync/manifest_files.h"

#include <sys/inotify.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

namespace grantd {
namespace {

using namespace std::chrono_literals;

constexpr std::uint32_t kInside =
    IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF;
constexpr std::uint32_t kAbove = IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CREATE;
// A file that has come, but not its content, or that has gone: often the first half of saving.
constexpr std::uint32_t kFirstHalf = IN_CREATE | IN_DELETE | IN_MOVED_FROM;

// An edit is to be in force within 100 ms, its reading and applying included.
constexpr auto kQuietAfterChange = 10ms;
constexpr auto kQuietAfterFirstHalf = 40ms;
constexpr auto kLongestWait = 70ms;

constexpr std::size_t kMostDirectories = 256;  // the kernel grants a user some 8,192 and more, of all programs together
constexpr int kMostLinks = 40;                 // as the kernel, path_resolution(7)

}  // namespace

Result<DirectoryWatch> DirectoryWatch::open(const std::string& directory, Links links) {
  DirectoryWatch watch;
  watch.links_ = links;
  std::error_code error;
  watch.directory_ = std::filesystem::absolute(directory, error).string();
  if (error) return system_error("find " + directory, error.value());
  watch.events_ = Descriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch.events_.valid()) return system_error("inotify_init", errno);
  watch.timer_ = Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!watch.timer_.valid()) return system_error("timerfd_create", errno);
  (void)watch.renew().ok();  // whoever reads the directory asks again
  return watch;
}

// What is not there is no failure: one of those above it tells when it comes.
Result<void> DirectoryWatch::watch(const std::string& directory, const std::string& name, std::uint32_t events) {
  const int number = inotify_add_watch(events_.get(), directory.c_str(), events | IN_ONLYDIR | IN_MASK_ADD);
  if (number < 0 && (errno == ENOENT || errno == ENOTDIR)) return {};
  if (number < 0) return system_error("watch " + directory, errno);
  if (!names_.contains(number) && names_.size() >= kMostDirectories) {
    inotify_rm_watch(events_.get(), number);
    return Error{"its links lead through more than " + std::to_string(kMostDirectories) + " directories"};
  }
  names_[number].insert(name);
  return {};
}

// Each directory on a way, links followed as the kernel does, for the name that is looked up in it: before it is looked
// up, so that what changes afterwards is told. `at` has no links in it.
Result<void> DirectoryWatch::watch_way(std::filesystem::path at, const std::string& way, std::uint32_t at_its_end) {
  std::vector<std::filesystem::path> left;  // the next one last
  const auto go = [&left](const std::filesystem::path& there) {
    const std::vector<std::filesystem::path> names(there.begin(), there.end());
    left.insert(left.end(), names.rbegin(), names.rend());
  };
  go(way);
  Result<void> all;
  int links = 0;
  while (!left.empty()) {
    const std::filesystem::path name = left.back();
    left.pop_back();
    if (name.empty() || name == ".") continue;
    if (name == "/" || name == "..") {
      at = name == "/" ? name : at.parent_path();
      continue;
    }
    if (auto done = watch(at.string(), name.string(), left.empty() ? at_its_end : kAbove); all) all = std::move(done);
    std::error_code none;
    const auto target = std::filesystem::read_symlink(at / name, none);
    if (none)
      at /= name;
    else if (++links <= kMostLinks)
      go(target);
    else
      break;  // nobody gets there
  }
  return all;
}

Result<void> DirectoryWatch::watch_all() {
  Result<void> all = watch(directory_, "", kInside);
  const auto note = [&all](Result<void> done) {
    if (all && !done) all = std::move(done);
  };
  note(watch_way("/", directory_, kAbove));
  std::error_code gone;
  const auto here = std::filesystem::canonical(directory_, gone);
  if (gone || links_ == Links::Opaque) return all;
  for (const std::string& name : linked_manifests(directory_)) {
    note(watch_way(here, name, kInside));
    if (!all && names_.size() >= kMostDirectories) break;
  }
  return all;
}

Result<void> DirectoryWatch::renew() {
  const auto before = std::exchange(names_, {});
  auto watched = watch_all();
  for (const auto& [number, names] : before)
    if (!names_.contains(number)) inotify_rm_watch(events_.get(), number);
  if (!watched) look_again(1s);
  return watched;
}

void DirectoryWatch::take_event(const inotify_event& event, const char* name) {
  const auto known = names_.find(event.wd);
  const bool overflow = (event.mask & IN_Q_OVERFLOW) != 0;
  if (!overflow && known == names_.end()) return;  // of a watch that is no more
  const bool awaited = !overflow && *name && known->second.contains(name);
  if (!overflow && !awaited && !known->second.contains("")) return;
  // What is written under another name until it is whole (replace_file) tells of itself when it takes its own; ours
  // would wake us for ever where the disk is full.
  if (!overflow && !awaited && std::string_view(name).ends_with(".new")) return;
  if (!changing_since_) {
    changing_since_ = Clock::now();
    quiet_ = kQuietAfterChange;
  }
  // Other names, such as an editor's backup, change nothing about what is waited for.
  if (awaited || (!overflow && is_manifest_name(name)))
    quiet_ = (event.mask & kFirstHalf) != 0 ? kQuietAfterFirstHalf : kQuietAfterChange;
}

void DirectoryWatch::take_events() {
  alignas(inotify_event) std::array<char, 65536> buffer;
  while (true) {
    const ssize_t count = read(events_.get(), buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;
    for (std::size_t at = 0; at < static_cast<std::size_t>(count);) {
      inotify_event event;
      std::memcpy(&event, buffer.data() + at, sizeof event);
      take_event(event, event.len > 0 ? buffer.data() + at + offsetof(inotify_event, name) : "");
      at += sizeof event + event.len;
    }
    set_timer(quiet_);
  }
}

void DirectoryWatch::set_timer(Clock::duration wait) const {
  if (!changing_since_) return;
  const auto longest = *changing_since_ + kLongestWait - Clock::now();
  const auto nanoseconds = std::max<std::int64_t>(std::min(wait, longest).count(), 1);
  itimerspec when{};
  when.it_value.tv_nsec = nanoseconds;
  timerfd_settime(timer_.get(), 0, &when, nullptr);
}

void DirectoryWatch::look_again(std::chrono::milliseconds after) {
  itimerspec when{};
  when.it_value.tv_sec = after / 1s;
  when.it_value.tv_nsec = std::chrono::nanoseconds(after % 1s).count();
  timerfd_settime(timer_.get(), 0, &when, nullptr);
}

bool DirectoryWatch::elapsed() {
  std::uint64_t times = 0;
  return read(timer_.get(), &times, sizeof times) == static_cast<ssize_t>(sizeof times);
}

bool DirectoryWatch::drain() {
  take_events();
  if (!elapsed()) return false;
  changing_since_.reset();
  return true;
}

}  // namespace grantd
