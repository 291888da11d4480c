// What a node must remember of time across restarts, in one file of the state directory.
#pragma once

#include "agent/compile/node_facts.h"
#include "maps/result.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace grantd {

struct Latches {
  WallTime highest_seen;  // by a wall clock that was trusted, ever
  // The highest offset (wall minus boot) by which a trusted clock ended Grants; 0: none. Not in the file of an agent
  // that latched every clock: then any offset may have ended some.
  std::optional<std::uint64_t> trusted_offset_ns = 0;
  std::map<std::string, WallTime> revoked_at;  // see TimeFacts
  std::map<std::string, WallTime> notice_ends;
  std::map<std::string, std::string> expired;
  bool operator==(const Latches&) const = default;
};

class LatchFile {
 public:
  explicit LatchFile(const std::string& state_dir) : path_(state_dir + "/latches.json") {}
  // An empty set where there is no file yet. A damaged file is an error that names it.
  Result<Latches> load() const;
  // Whole or not at all: written beside, synchronised, renamed.
  Result<void> save(const Latches& latches) const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace grantd
