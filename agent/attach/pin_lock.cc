#include "agent/attach/pin_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>
#include <chrono>
#include <thread>

namespace grantd {

Result<Descriptor> lock_pin_root(const std::string& pin_root) {
  constexpr std::chrono::milliseconds kPause{50}, kPatience{2000};
  Descriptor directory(open(pin_root.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return system_error("cannot open " + pin_root, errno);
  for (std::chrono::milliseconds waited{0}; flock(directory.get(), LOCK_EX | LOCK_NB) != 0; waited += kPause) {
    if (errno != EWOULDBLOCK) return system_error("cannot lock " + pin_root, errno);
    if (waited >= kPatience)
      return Error{"pin root " + pin_root + ": another grantd runs there; stop it first", EWOULDBLOCK};
    std::this_thread::sleep_for(kPause);
  }
  return directory;
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

Result<Descriptor> lock_links(const std::string& directory) {
  Descriptor opened(open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!opened.valid()) {
    if (errno == ENOENT) return opened;
    return system_error("cannot open " + directory, errno);
  }
  while (flock(opened.get(), LOCK_EX) != 0)
    if (errno != EINTR) return system_error("cannot lock " + directory, errno);
  return opened;
}

}  // namespace grantd
