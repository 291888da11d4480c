// cgroup v2, by path and by id.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <set>
#include <string>

namespace grantd {

// Where cgroup v2 is mounted: /sys/fs/cgroup, or below it beside v1.
std::string cgroup_root();

// The id of a cgroup, by its path below the root; nothing where there is none.
std::optional<std::uint64_t> cgroup_id(const std::string& path);

// The cgroup of that id, sought below the root; an error where there is none. Goes through all of them.
Result<Descriptor> open_cgroup(std::uint64_t id);

// All there are.
std::set<std::uint64_t> cgroup_ids();

}  // namespace grantd
