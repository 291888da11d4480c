#include "agent/attach/interface_name.h"

#include <net/if.h>

#include <array>

namespace grantd {

std::string interface_name(std::uint32_t ifindex) {
  std::array<char, IF_NAMESIZE> name{};
  return if_indextoname(ifindex, name.data()) ? name.data() : std::to_string(ifindex);
}

}  // namespace grantd
