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

}  // namespace

Result<DirectoryWatch> DirectoryWatch::open(const std::string& directory) {
  DirectoryWatch watch;
  std::error_code error;
  watch.directory_ = std::filesystem::absolute(directory, error).lexically_normal().string();
  if (error) return system_error("find " + directory, error.value());
  while (watch.directory_.size() > 1 && watch.directory_.ends_with('/')) watch.directory_.pop_back();
  watch.events_ = Descriptor(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  if (!watch.events_.valid()) return system_error("inotify_init", errno);
  watch.timer_ = Descriptor(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!watch.timer_.valid()) return system_error("timerfd_create", errno);
  (void)watch.renew().ok();  // whoever reads the directory asks again
  return watch;
}

// What is not there is no failure: one of those above it tells when it comes.
bool DirectoryWatch::watch(const std::string& directory, const std::string& name, std::uint32_t events) {
  const int number = inotify_add_watch(events_.get(), directory.c_str(), events | IN_ONLYDIR | IN_MASK_ADD);
  if (number < 0) return errno == ENOENT || errno == ENOTDIR;
  names_[number].insert(name);
  return true;
}

Result<void> DirectoryWatch::renew() {
  const auto before = std::exchange(names_, {});
  int refused = watch(directory_, "", kInside) ? 0 : errno;
  // Any component of the path may be a link that is swapped, or a directory that is replaced.
  std::filesystem::path path(directory_);
  while (path.has_relative_path()) {
    if (!watch(path.parent_path().string(), path.filename().string(), kAbove)) refused = errno;
    path = path.parent_path();
  }
  for (const auto& [number, names] : before)
    if (!names_.contains(number)) inotify_rm_watch(events_.get(), number);
  if (refused == 0) return {};
  look_again(1s);
  return system_error("watch " + directory_, refused);
}

void DirectoryWatch::take_event(const inotify_event& event, const char* name) {
  const auto known = names_.find(event.wd);
  const bool overflow = (event.mask & IN_Q_OVERFLOW) != 0;
  if (!overflow && known == names_.end()) return;  // of a watch that is no more
  if (!overflow && !known->second.contains("") && !known->second.contains(name)) return;
  if (!changing_since_) {
    changing_since_ = Clock::now();
    quiet_ = kQuietAfterChange;
  }
  // Other names, such as an editor's backup, change nothing about what is waited for.
  if (!overflow && is_manifest_name(name))
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
