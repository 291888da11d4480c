#include "agent/attach/pin_root.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>

namespace grantd {

namespace {

Result<void> make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("cannot make " + path, errno);
  return {};
}

}  // namespace

Result<void> make_pin_root(const std::string& pin_root) {
  if (auto made = make_directory(pin_root); !made) return made;
  struct statfs filesystem {};
  if (statfs(pin_root.c_str(), &filesystem) != 0) return system_error("cannot look at " + pin_root, errno);
  if (static_cast<unsigned long>(filesystem.f_type) != BPF_FS_MAGIC) {
    rmdir(pin_root.c_str());
    return Error{"pin root " + pin_root +
                     ": is not on a BPF file system; accepted: a path below one, such as after "
                     "'mount -t bpf bpf /sys/fs/bpf'",
                 0};
  }
  if (chmod(pin_root.c_str(), 0700) != 0) return system_error("cannot close " + pin_root + " to others", errno);
  for (const char* part : {"/maps", "/maps/tables", "/programs", "/links"})
    if (auto made = make_directory(pin_root + part); !made) return made;
  return {};
}

}  // namespace grantd
