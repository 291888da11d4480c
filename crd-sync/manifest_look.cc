#include "crd-sync/manifest_look.h"

#include "crd-sync/manifest_files.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <system_error>
#include <utility>

namespace grantd {
namespace {

// Not half an edit is read, but what is the same twice, so long apart.
constexpr std::chrono::milliseconds kSettles{1000};
constexpr int kMostLooks = 20;  // the next one is in 30 s

// File systems take the time of the kernel's last tick: at most 10 ms.
constexpr std::int64_t kTimesApart = 20'000'000;

std::int64_t nanoseconds(const struct statx_timestamp& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

std::int64_t now() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

FileMark mark_of(const std::string& path) {
  struct statx about {};
  // The server's own answer, not what this host remembers of one.
  if (statx(AT_FDCWD, path.c_str(), AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &about) != 0) return {errno};
  FileMark mark;
  mark.device = makedev(about.stx_dev_major, about.stx_dev_minor);
  mark.inode = about.stx_ino;
  mark.size = about.stx_size;
  mark.modified = nanoseconds(about.stx_mtime);
  mark.changed = nanoseconds(about.stx_ctime);
  const std::int64_t age = now() - mark.changed;
  mark.in_doubt = age < kTimesApart && age > -kTimesApart;
  return mark;
}

ManifestMarks manifest_marks(const std::string& directory) {
  (void)mark_of(directory);  // so that a network file system asks anew what is in it
  ManifestMarks marks;
  const auto paths = list_manifests(directory);
  if (!paths) {
    marks[directory].error_number = paths.error().error_number;
    return marks;
  }
  for (const std::string& path : paths.value()) marks[path] = mark_of(path);
  return marks;
}

}  // namespace

bool FileMark::operator==(const FileMark& other) const {
  return error_number == other.error_number && device == other.device && inode == other.inode && size == other.size &&
         modified == other.modified && changed == other.changed;
}

Result<std::unique_ptr<ManifestLook>> ManifestLook::open(const std::string& directory) {
  Descriptor done(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!done.valid()) return system_error("eventfd", errno);
  return std::unique_ptr<ManifestLook>(new ManifestLook(directory, std::move(done)));
}

ManifestLook::~ManifestLook() {
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

void ManifestLook::look(const ManifestMarks& known) {
  seen_ = manifest_marks(directory_);
  settled_ = seen_ == known;
  for (int looks = 1; !settled_ && looks < kMostLooks && !ending_; ++looks) {
    std::this_thread::sleep_for(kSettles);
    ManifestMarks now = manifest_marks(directory_);
    settled_ = now == seen_;
    seen_ = std::move(now);
  }
  const std::uint64_t one = 1;
  (void)!write(done_.get(), &one, sizeof(one));
}

void ManifestLook::before_reading() {
  known_ = manifest_marks(directory_);
  outdated_ = true;
}

void ManifestLook::begin() {
  if (thread_.joinable()) return;
  outdated_ = false;
  try {
    thread_ = std::thread([this, known = known_] { look(known); });
  } catch (const std::system_error&) {  // no thread to be had: the next time
  }
}

bool ManifestLook::drain() {
  std::uint64_t looks = 0;
  if (read(done_.get(), &looks, sizeof(looks)) != sizeof(looks)) return false;
  if (thread_.joinable()) thread_.join();
  if (outdated_ || !settled_) return false;
  return seen_ != known_ || std::ranges::any_of(known_, [](const auto& each) { return each.second.in_doubt; });
}

}  // namespace grantd
