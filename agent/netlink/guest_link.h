// A guest's interface and the host's side of it, as the kernel pairs them: nobody's word is taken for it.
#pragma once

#include "maps/address.h"
#include "maps/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

struct GuestLink {
  std::string host_interface;
  std::uint32_t host_ifindex = 0;
  std::uint32_t guest_ifindex = 0;  // in the guest's network namespace
  std::optional<MacAddress> guest_mac;
};

// The interface `ifname` of the network namespace at the path `netns`, and its other side in the network namespace
// of the caller, which must say so too. An error that says what it is where it is no pair (macvlan, ipvlan, a
// device that was moved in), or where the other side is elsewhere; ENODEV where there is no such interface.
Result<GuestLink> read_guest_link(const std::string& netns, const std::string& ifname);

// The addresses of the interface with that index there, but for those of the link alone.
Result<std::vector<IpAddress>> read_guest_addresses(const std::string& netns, std::uint32_t guest_ifindex);

}  // namespace grantd
