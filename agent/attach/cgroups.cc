#include "agent/attach/cgroups.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/vfs.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

namespace grantd {

namespace {

bool is_cgroup2(int fd) {
  struct statfs filesystem {};
  return fstatfs(fd, &filesystem) == 0 && filesystem.f_type == CGROUP2_SUPER_MAGIC;
}

std::optional<std::uint64_t> id_of(const Descriptor& cgroup) {
  // A handle of another file system would be a number too.
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

}  // namespace

std::string cgroup_root() {
  const Descriptor root(open("/sys/fs/cgroup", O_PATH | O_CLOEXEC));
  return root.valid() && is_cgroup2(root.get()) ? "/sys/fs/cgroup" : "/sys/fs/cgroup/unified";
}

// open_by_handle_at() would need the right to read every file of the machine, which the agent has not.
void each_cgroup(const std::function<bool(std::uint64_t, Descriptor&)>& visit) {
  std::vector<std::string> left = {cgroup_root()};
  while (!left.empty()) {
    const std::string path = std::move(left.back());
    left.pop_back();
    Descriptor cgroup(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (const auto id = id_of(cgroup); id && !visit(*id, cgroup)) return;
    // One that is gone since it was listed has nothing below it.
    std::error_code failed;
    for (std::filesystem::directory_iterator each(path, failed), end; !failed && each != end; each.increment(failed))
      if (std::error_code unknown; each->is_directory(unknown)) left.push_back(each->path());
  }
}

std::optional<std::uint64_t> cgroup_id(const std::string& path) {
  const std::string whole = cgroup_root() + "/" + path;
  const Descriptor cgroup(open(whole.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  return id_of(cgroup);
}

Result<Descriptor> open_cgroup(std::uint64_t id) {
  Descriptor found;
  each_cgroup([&](std::uint64_t each, Descriptor& cgroup) {
    if (each != id) return true;
    found = std::move(cgroup);
    return false;
  });
  if (!found.valid())
    return Error{"cannot open cgroup " + std::to_string(id) + ": there is none below " + cgroup_root(), ESTALE};
  return found;
}

std::set<std::uint64_t> cgroup_ids() {
  std::set<std::uint64_t> ids;
  each_cgroup([&](std::uint64_t id, const Descriptor&) {
    ids.insert(id);
    return true;
  });
  return ids;
}

}  // namespace grantd
