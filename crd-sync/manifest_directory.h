// Standalone mode's source: a directory of manifests, watched with inotify.
#pragma once

#include "crd-sync/source.h"
#include "maps/result.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

// Reads *.yaml, *.yml and *.json directly in the directory: regular files and links to such, wherever
// they are, so that a mounted ConfigMap works. Hidden files and editors' backups are left out.
class ManifestDirectory final : public Source {
 public:
  // An error where the directory is not there or cannot be read. `state_directory` keeps the last
  // good version of each object; "" for none. `protected_ranges` as for admit().
  static Result<ManifestDirectory> open(const std::string& path, const std::string& state_directory,
                                        std::vector<IpPrefix> protected_ranges = {});

  ManifestDirectory(ManifestDirectory&&) noexcept;
  ManifestDirectory& operator=(ManifestDirectory&&) noexcept;
  ~ManifestDirectory() override;

  const char* kind() const override { return "manifests"; }
  std::string place() const override;

  // Everything anew; files whose content is the same as last time are not parsed again. When the
  // directory has vanished, what was in force stays and a Problem says so. Never nothing.
  std::optional<DesiredState> load() override;
  std::optional<Problem> keep() override;

  // inotify, and a timer: an editor saves by several steps, which are waited for. And the end of a look.
  std::vector<int> fds() const override;
  // True once after changes, when it has been quiet since.
  bool drain() override;
  void look() override;

 private:
  struct Parts;
  explicit ManifestDirectory(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

// The same for a list of files and directories, with no memory and no watching: `grantd check`.
DesiredState load_manifests(const std::vector<std::string>& paths, const std::vector<IpPrefix>& protected_ranges = {});

}  // namespace grantd
