#include "agent/node/cgroups.h"

#include "maps/descriptor.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <cstring>

namespace grantd {

namespace {

bool is_cgroup2(int fd) {
  struct statfs filesystem {};
  return fstatfs(fd, &filesystem) == 0 && filesystem.f_type == CGROUP2_SUPER_MAGIC;
}

}  // namespace

std::string cgroup_root() {
  const Descriptor root(open("/sys/fs/cgroup", O_PATH | O_CLOEXEC));
  return root.valid() && is_cgroup2(root.get()) ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
}

std::optional<std::uint64_t> cgroup_id(const std::string& path) {
  const std::string whole = cgroup_root() + "/" + path;
  // A handle of another file system would be a number too.
  const Descriptor cgroup(open(whole.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!cgroup.valid() || !is_cgroup2(cgroup.get())) return std::nullopt;
  struct {
    file_handle header;
    std::uint8_t id[8];
  } handle{};
  handle.header.handle_bytes = sizeof(handle.id);
  int mount = 0;
  if (name_to_handle_at(cgroup.get(), "", &handle.header, &mount, AT_EMPTY_PATH) != 0) return std::nullopt;
  std::uint64_t id = 0;
  std::memcpy(&id, handle.header.f_handle, sizeof(id));
  return id;
}

}  // namespace grantd
