// Which files hold manifests, and what they hold. Reading a file that has not changed is cheap.
#pragma once

#include "crd-sync/read_manifests.h"
#include "maps/result.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace grantd {

// *.yaml, *.yml, *.json; not hidden, not an editor's.
bool is_manifest_name(std::string_view name);

// The manifests directly in a directory, sorted, as DIRECTORY/NAME.
Result<std::vector<std::string>> list_manifests(const std::string& directory);

// The names of those that are links. None where the directory cannot be read.
std::vector<std::string> linked_manifests(const std::string& directory);

// A warning of each file in a directory that is not read for its name, and of each directory in it that holds
// manifests. Not of hidden files, of what editors leave behind, and of texts for people (*.md, or no ending).
std::vector<Problem> unread_files(const std::string& directory);

class ManifestCache {
 public:
  using Results = std::vector<std::shared_ptr<const ReadResult>>;

  // One result or more a file, in the same order; several where it has several documents. A file
  // that has vanished since it was listed has none; one that cannot be read has one that says so.
  // Forgets all other files. What somebody has open for writing is a warning, and told by read_again(), unless it is
  // to be taken as it is.
  Results read(const std::vector<std::string>& paths, bool as_it_is = false);

  // A file was open for writing when it was read last, or the system would not read it: what it says may be
  // had later, with no event that says so.
  bool read_again() const { return read_again_; }

 private:
  // One document: text is told from text by size and hash, because times are too coarse.
  struct Part {
    int document = 1, line = 1;  // where it stood
    std::shared_ptr<const ReadResult> result;
  };
  using Parts = std::multimap<std::pair<std::size_t, std::uint64_t>, Part>;

  static Parts read_parts(const std::string& path, const std::string& text, Parts known, Results& results);

  std::map<std::string, Parts> known_;
  std::map<std::string, Results> parsed_;  // of each file as it could be read last
  bool read_again_ = false;
};

}  // namespace grantd
