#include "agent/attach/pin_root.h"

#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace grantd {

namespace {

Result<void> make_directory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return system_error("cannot make " + path, errno);
  return {};
}

}  // namespace

Result<void> make_pin_root(const std::string& pin_root) {
  const auto refused = [&](const std::string& why) {
    return Error{"pin root " + pin_root + ": " + why +
                     "; accepted: a path on a BPF file system, such as after 'mount -t bpf bpf /sys/fs/bpf', whose "
                     "parent directory is there",
                 0};
  };
  // Where it is not there yet, its parent says what it would be on: sysfs, for one, lets nobody make a directory.
  std::filesystem::path there(pin_root);
  if (access(pin_root.c_str(), F_OK) != 0) there = (there.has_filename() ? there : there.parent_path()).parent_path();
  struct statfs filesystem {};
  if (statfs(there.c_str(), &filesystem) != 0)
    return errno == ENOENT ? refused("there is no directory " + there.string())
                           : system_error("cannot look at " + there.string(), errno);
  if (static_cast<unsigned long>(filesystem.f_type) != BPF_FS_MAGIC) return refused("is not on a BPF file system");
  if (auto made = make_directory(pin_root); !made) return made;
  if (chmod(pin_root.c_str(), 0700) != 0) return system_error("cannot close " + pin_root + " to others", errno);
  for (const char* part : {"/maps", "/maps/tables", "/programs", "/links", "/stamps"})
    if (auto made = make_directory(pin_root + part); !made) return made;
  return {};
}

}  // namespace grantd
