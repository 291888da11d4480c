#include "agent/node/cgroups.h"

#include <fcntl.h>
#include <sys/vfs.h>

#include <cstring>

namespace grantd {

std::string cgroup_root() {
  constexpr long kCgroup2Magic = 0x63677270;
  struct statfs filesystem{};
  if (statfs("/sys/fs/cgroup", &filesystem) == 0 && filesystem.f_type == kCgroup2Magic) return "/sys/fs/cgroup";
  return "/sys/fs/cgroup/unified";
}

std::optional<std::uint64_t> cgroup_id(const std::string& path) {
  struct {
    file_handle header;
    std::uint8_t id[8];
  } handle{};
  handle.header.handle_bytes = sizeof(handle.id);
  int mount = 0;
  const std::string whole = cgroup_root() + "/" + path;
  if (name_to_handle_at(AT_FDCWD, whole.c_str(), &handle.header, &mount, 0) != 0) return std::nullopt;
  std::uint64_t id = 0;
  std::memcpy(&id, handle.header.f_handle, sizeof(id));
  return id;
}

}  // namespace grantd
