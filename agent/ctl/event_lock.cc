#include "agent/ctl/event_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <cerrno>

namespace grantd {

// The directory of the maps' pins: it is where they are, whatever mount they are looked at through, and leaves no file
// behind. The agent locks the pin root and the directory of links.
Result<Descriptor> lock_events(const std::string& pin_root) {
  const std::string path = pin_root + "/maps";
  Descriptor directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory.valid()) return system_error("cannot open " + path, errno);
  if (flock(directory.get(), LOCK_EX | LOCK_NB) == 0) return directory;
  if (errno == EWOULDBLOCK)
    return Error{"another grantctl monitor reads the events of " + pin_root +
                     ", and an event goes to one reader only; stop that one first",
                 EWOULDBLOCK};
  return system_error("cannot lock " + path, errno);
}

}  // namespace grantd
