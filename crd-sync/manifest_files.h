// Which files hold manifests, and what they hold. Reading a file that has not changed is cheap.
#pragma once

#include "crd-sync/read_manifests.h"
#include "maps/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

// *.yaml, *.yml, *.json; not hidden, not an editor's.
bool is_manifest_name(std::string_view name);

// The manifests directly in a directory, sorted, as DIRECTORY/NAME.
Result<std::vector<std::string>> list_manifests(const std::string& directory);

class ManifestCache {
 public:
  // One result a file, in the same order. A file that has vanished since it was listed has none;
  // one that cannot be read has one that says so. Forgets all other files.
  std::vector<std::shared_ptr<const ReadResult>> read(const std::vector<std::string>& paths);

 private:
  struct Entry {
    std::size_t bytes = 0;
    std::uint64_t hash = 0;  // times are too coarse to tell two edits apart
    std::shared_ptr<const ReadResult> result;
  };
  Entry read_one(const std::string& path, const std::string& text);

  std::map<std::string, Entry> known_;
};

}  // namespace grantd
