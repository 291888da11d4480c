#include "agent/attach/interface_switch.h"

#include "maps/descriptor.h"

#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

namespace grantd {

Result<void> switch_interface(std::uint32_t ifindex, bool up) {
  const std::string what = "cannot set interface " + std::to_string(ifindex) + (up ? " up" : " down");
  ifreq request{};
  if (!if_indextoname(ifindex, request.ifr_name)) {
    if (errno == ENXIO || errno == ENODEV) return {};
    return system_error(what, errno);
  }
  const Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return system_error(what, errno);
  if (ioctl(socket.get(), SIOCGIFFLAGS, &request) != 0) return system_error(what, errno);
  constexpr short kUp = IFF_UP;
  request.ifr_flags = static_cast<short>(up ? request.ifr_flags | kUp : request.ifr_flags & ~kUp);
  if (ioctl(socket.get(), SIOCSIFFLAGS, &request) != 0) return system_error(what, errno);
  return {};
}

}  // namespace grantd
