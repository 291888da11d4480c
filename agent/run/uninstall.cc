#include "agent/run/uninstall.h"

#include "agent/attach/attacher.h"

#include <cerrno>
#include <filesystem>

namespace grantd {

namespace fs = std::filesystem;

namespace {

Result<void> remove_tree(const std::string& path) {
  std::error_code failed;
  fs::remove_all(path, failed);
  if (failed) return system_error("cannot remove " + path, failed.value());
  return {};
}

}  // namespace

Result<void> uninstall(const std::string& pin_root, const std::string& state_dir) {
  std::error_code failed;
  if (fs::exists(pin_root + "/links", failed)) {
    Attacher attacher(pin_root, AttachMode::Auto);
    if (auto detached = attacher.detach_all(); !detached) return detached;
  }
  // Only what is ours: the root itself goes when nothing else is in it.
  for (const char* part : {"/links", "/programs", "/maps"})
    if (auto removed = remove_tree(pin_root + part); !removed) return removed;
  fs::remove(pin_root, failed);
  for (const char* file : {"/latches.json", "/latches.json.new"})
    if (auto removed = remove_tree(state_dir + file); !removed) return removed;
  return {};
}

}  // namespace grantd
