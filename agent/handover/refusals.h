// What the agent has refused, for grantctl: where nothing of it is in force, no map tells of it. The agent is the only
// writer; grantctl reads, also when no agent runs.
#pragma once

#include "maps/result.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

inline constexpr const char* kDefaultStateDir = "/var/lib/grantd";

struct Refusal {
  enum class Kind : std::uint8_t { Grant, Guest, Realm, File };
  Kind kind = Kind::Grant;
  // NAMESPACE/NAME of a Grant or a pod, the name of a Workload or a Realm, the path of a file.
  std::string name;
  std::string why;  // as the log says it
  bool operator==(const Refusal&) const = default;
};

struct Refusals {
  std::string pin_root;  // of the agent that refused: another's are no business of who asks
  std::vector<Refusal> refused;
  std::uint64_t more = 0;  // that had no room here
  bool operator==(const Refusals&) const = default;
};

inline constexpr std::size_t kRefusalsKept = 256;

std::string refusals_path(const std::string& state_dir);

// Nothing where no agent has written it. A damaged file is an error, which names it and the way out.
Result<std::optional<Refusals>> read_refusals(const std::string& state_dir);

// Writes it, in one step, where it says something else or is damaged. At most kRefusalsKept, of each the first part.
Result<void> keep_refusals(const std::string& state_dir, Refusals wanted);

}  // namespace grantd
