// cgroup v2, by path and by id.
#pragma once

#include "maps/descriptor.h"
#include "maps/result.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>

namespace grantd {

// Where cgroup v2 is mounted: /sys/fs/cgroup, or below it beside v1.
std::string cgroup_root();

// The id of a cgroup, by its path below the root; nothing where there is none.
std::optional<std::uint64_t> cgroup_id(const std::string& path);

// Goes through all there are, each with its id, until `visit` gives false; it may take the descriptor.
void each_cgroup(const std::function<bool(std::uint64_t id, Descriptor& cgroup)>& visit);

// The cgroup of that id, sought below the root; an error where there is none. Goes through all of them.
Result<Descriptor> open_cgroup(std::uint64_t id);

std::set<std::uint64_t> cgroup_ids();

}  // namespace grantd
