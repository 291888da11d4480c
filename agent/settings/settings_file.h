// The file of settings: TOML, whose keys are the flags' names, without sections.
#pragma once

#include "maps/result.h"

#include <string>
#include <vector>

namespace grantd {

struct FileEntry {
  std::string name;
  std::vector<std::string> values;  // as a flag would be given them
  bool list = false;
  std::string origin;  // FILE:LINE
};

// Every entry, in the order of the file; nothing of a file that is wrong anywhere. The error names the file, the
// line, what stands there and what is accepted.
Result<std::vector<FileEntry>> read_settings_file(const std::string& path);

// Files beside the usual one that somebody may take for it: none of them is read. Sorted.
std::vector<std::string> files_beside(const std::string& usual_file);

}  // namespace grantd
