// tc filters, for kernels without tcx: one of ours on each side, first by priority, with a handle that
// tells it apart.
#pragma once

#include "agent/plan/attachment.h"
#include "maps/result.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grantd {

struct ClsactFilter {
  std::uint32_t ifindex = 0;
  bool egress = false;  // side of the interface, not of the guest
  std::uint32_t handle = 0;
  std::uint32_t program_id = 0;
  bool first = false;  // nothing else sees a packet before it
  // Of its program as whoever attached it said, and as the kernel shows it. To open a program by its number takes
  // CAP_SYS_ADMIN.
  std::string program_name, program_tag;
};

// Makes the clsact qdisc where there is none. An `ingress` qdisc, which would take the egress filter
// into its ingress chain without a word (measured), is replaced: before the first attach nothing is closed
// there, and afterwards the qdisc is ours. Then puts the filter first, or replaces its program in place,
// and reads back the qdisc's kind, the order and the program.
Result<void> attach_filter(std::uint32_t ifindex, bool egress, int program_fd, std::uint32_t program_id);
// Replaces the program of a filter where it stands, in one step.
Result<void> replace_filter(const ClsactFilter& filter, int program_fd);
// What is gone already is no error.
Result<void> detach_filter(const ClsactFilter& filter);
// Removes the clsact qdisc if no filter is left on it, whoever made it.
Result<void> remove_empty_clsact(std::uint32_t ifindex);

// Ours on one side of an interface, in order: one, or two if we died while one took the other's place.
Result<std::vector<ClsactFilter>> filters_on(std::uint32_t ifindex, bool egress);
// Ours on all interfaces.
Result<std::vector<ClsactFilter>> all_filters();

}  // namespace grantd
