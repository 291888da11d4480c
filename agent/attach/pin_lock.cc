#include "agent/attach/pin_lock.h"

#include "agent/attach/pin_root.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <thread>

namespace grantd {

namespace {

bool is_at(int directory, const std::string& path) {
  struct stat held {
  }, found{};
  return fstat(directory, &held) == 0 && stat(path.c_str(), &found) == 0 && held.st_dev == found.st_dev &&
         held.st_ino == found.st_ino;
}

Result<void> make_state_dir(const std::string& state_dir) {
  std::error_code failed;
  std::filesystem::create_directories(state_dir, failed);
  if (failed) return system_error("cannot make the state directory " + state_dir, failed.value());
  if (chmod(state_dir.c_str(), 0700) != 0)
    return system_error("cannot close the state directory " + state_dir + " to others", errno);
  return {};
}

Result<Descriptor> lock_directory(const char* kind, const std::string& path,
                                  Result<void> (*make)(const std::string& path)) {
  constexpr std::chrono::milliseconds kPause{50}, kPatience{2000};
  for (std::chrono::milliseconds waited{0};; waited += kPause) {
    if (auto made = make(path); !made) return made.error();
    Descriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!directory.valid() && errno != ENOENT) return system_error("cannot open " + path, errno);
    if (directory.valid() && flock(directory.get(), LOCK_EX | LOCK_NB) == 0) {
      // Whoever held it may have taken the directory away; then the lock is on one that nobody finds.
      if (is_at(directory.get(), path)) {
        if (auto made = make(path); !made) return made.error();  // all of its parts
        return directory;
      }
    } else if (directory.valid() && errno != EWOULDBLOCK) {
      return system_error("cannot lock " + path, errno);
    }
    if (waited >= kPatience)
      return Error{std::string(kind) + " " + path + ": another grantd runs there; stop it first", EWOULDBLOCK};
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

Result<Descriptor> lock_pin_root(const std::string& pin_root) {
  return lock_directory("pin root", pin_root, make_pin_root);
}

Result<Descriptor> lock_state_dir(const std::string& state_dir) {
  return lock_directory("state directory", state_dir, make_state_dir);
}

Result<bool> is_pin_root_held(const std::string& pin_root) {
  const Descriptor directory(open(pin_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid() && errno == ENOENT) return false;
  if (!directory.valid()) return system_error("cannot open " + pin_root, errno);
  // Others may ask at the same time; a grantd that starts just now tries again.
  if (flock(directory.get(), LOCK_SH | LOCK_NB) == 0) return false;
  if (errno == EWOULDBLOCK) return true;
  return system_error("cannot ask who holds " + pin_root, errno);
}

Result<Descriptor> lock_links(const std::string& directory, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds kPause{5};
  const auto until = std::chrono::steady_clock::now() + patience;
  Descriptor opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.valid()) {
    if (errno == ENOENT) return opened;
    return system_error("cannot open " + directory, errno);
  }
  while (flock(opened.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return system_error("cannot lock " + directory, errno);
    if (std::chrono::steady_clock::now() >= until)
      return Error{"another process, as a grantd-cni that hangs, has locked " + directory +
                       " and does not let it go; end that process",
                   EWOULDBLOCK};
    std::this_thread::sleep_for(kPause);
  }
  return opened;
}

}  // namespace grantd
