// Standalone mode's source: a directory of manifests, watched with inotify.
#pragma once

#include "crd-sync/desired_state.h"
#include "maps/result.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

// Reads *.yaml, *.yml and *.json directly in the directory: regular files and links to such, so
// that a mounted ConfigMap works. Hidden files and editors' backups are left out.
class ManifestDirectory {
 public:
  // An error where the directory is not there or cannot be read. `state_directory` keeps the last
  // good version of each object; "" for none.
  static Result<ManifestDirectory> open(const std::string& path, const std::string& state_directory);

  ManifestDirectory(ManifestDirectory&&) noexcept;
  ManifestDirectory& operator=(ManifestDirectory&&) noexcept;
  ~ManifestDirectory();

  // Everything anew; files whose content is the same as last time are not parsed again. When the
  // directory has vanished, what was in force stays and a Problem says so.
  DesiredState load();

  // Writes what load() took for good to the state directory, if it differs from what is there. Apart
  // from load(), so that no edit waits for the disk: call it once the edit is in force. What went
  // wrong is to be told; the next call tries again.
  std::optional<Problem> keep();

  // Both for one epoll loop, edge or level triggered: whenever either is readable, call drain().
  int watch_fd() const;   // inotify
  int settle_fd() const;  // a timer: an editor saves by several steps, which are waited for

  // True: something may have changed, and has been quiet since: load(). Never blocks.
  bool drain();

 private:
  struct Parts;
  explicit ManifestDirectory(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// The same for a list of files and directories, with no memory and no watching: `grantd check`.
DesiredState load_manifests(const std::vector<std::string>& paths);

}  // namespace grantd
