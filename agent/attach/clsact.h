// tc filters, for kernels without tcx: one of ours on each side, first by priority, with a handle that
// tells it apart.
#pragma once

#include "agent/plan/attachment.h"
#include "maps/result.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace grantd {

struct ClsactFilter {
  std::uint32_t ifindex = 0;
  bool egress = false;  // side of the interface, not of the guest
  std::uint32_t program_id = 0;
};

// Makes the clsact qdisc where there is none. An `ingress` qdisc, which would take the egress filter
// into its ingress chain without a word (measured), is replaced. Then puts or replaces the filter,
// and reads the qdisc's kind and the program back.
Result<void> attach_filter(std::uint32_t ifindex, bool egress, int program_fd, std::uint32_t program_id);
Result<void> detach_filter(std::uint32_t ifindex, bool egress);
// Filters with our priority and handle on clsact qdiscs of all interfaces.
Result<std::vector<ClsactFilter>> clsact_filters();

}  // namespace grantd
