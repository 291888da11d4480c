// cgroup v2, by path and by id.
#pragma once

#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <string>

namespace grantd {

// Where cgroup v2 is mounted: /sys/fs/cgroup, or below it beside v1.
std::string cgroup_root();

// The id of a cgroup, by its path below the root; nothing where there is none.
std::optional<std::uint64_t> cgroup_id(const std::string& path);

}  // namespace grantd
