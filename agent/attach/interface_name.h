// Names of interfaces, for people.
#pragma once

#include <cstdint>
#include <string>

namespace grantd {

// In the network namespace of the caller; its index where it is gone.
std::string interface_name(std::uint32_t ifindex);

}  // namespace grantd
