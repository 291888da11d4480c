#include "agent/run/lost_programs.h"

#include "agent/attach/cgroups.h"

#include <algorithm>
#include <optional>

namespace grantd {

std::uint64_t lost_programs(const std::set<Attachment>& before, const std::set<Attachment>& now,
                            const std::vector<InterfaceFact>& interfaces) {
  std::optional<std::set<std::uint64_t>> cgroups;  // read once, and only where it matters
  const auto is_lost = [&](const Attachment& each) {
    if (now.contains(each)) return false;
    if (each.cgroup_id != 0) {
      if (!cgroups) cgroups = cgroup_ids();
      return cgroups->contains(each.cgroup_id);
    }
    return std::ranges::any_of(interfaces, [&](const InterfaceFact& one) { return one.ifindex == each.ifindex; });
  };
  return static_cast<std::uint64_t>(std::ranges::count_if(before, is_lost));
}

}  // namespace grantd
