// The pair of interfaces that packets wait in: into one end, out of the other. It carries no address and no traffic
// but what the datapath redirects into it.
#pragma once

#include "agent/netlink/netlink.h"
#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <string>

namespace grantd {

struct QueueLink {
  std::uint32_t queue_ifindex = 0, release_ifindex = 0;
};

// One of each pin root: "grantd-q" and "grantd-r" at the default one.
std::string queue_name(const std::string& pin_root);
std::string release_name(const std::string& pin_root);

// Nothing where it is not there, or not up on both sides.
Result<std::optional<QueueLink>> read_queue_link(nl_sock* socket, const std::string& pin_root);
// Another interface that has the name is left alone, and an error.
Result<QueueLink> make_queue_link(nl_sock* socket, const std::string& pin_root);
// What is not there is no error.
Result<void> remove_queue_link(nl_sock* socket, const std::string& pin_root);

}  // namespace grantd
