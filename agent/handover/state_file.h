// A file of the state directory: one JSON object of one version, replaced as a whole by its only writer.
#pragma once

#include "crd-sync/api/json.h"
#include "maps/result.h"

#include <cstddef>
#include <optional>
#include <string>

namespace grantd {

class StateFile {
 public:
  // `most_bytes`, `most_values`: what is longer is damaged. `way_out`: what becomes of a damaged one, for its error.
  StateFile(std::string path, std::size_t most_bytes, std::size_t most_values, std::string way_out)
      : path_(std::move(path)), way_out_(std::move(way_out)), most_bytes_(most_bytes), most_values_(most_values) {}

  // Nothing where there is none. What cannot be read, or is no object of our version, is an error that names it.
  Result<std::optional<nlohmann::json>> read() const;
  Error damaged(const std::string& what) const;
  // In one step, with its version.
  Result<void> write(nlohmann::json content) const;

 private:
  std::string path_, way_out_;
  std::size_t most_bytes_, most_values_;
};

}  // namespace grantd
