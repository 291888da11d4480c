// What IPv4 says, said in IPv6: as a stateless translator (RFC 7915) would, with the checksums left out.
#pragma once

#include "tests/prog/packet.h"

#include <optional>
#include <string>

namespace grantd::model {

// The same 32 bits behind a prefix that stands for nothing else.
std::string twin_of_address(const std::string& address);
std::string twin_of_prefix(const std::string& prefix);

// First bytes of addresses that neither family treats in a special way.
inline constexpr std::uint8_t kOrdinary[] = {61, 62, 63};

// Nothing for what has no twin: IPv4's options, types of ICMP that one family alone has, lengths that contradict each
// other or come near to what only one family's headers exceed, addresses that are not of kOrdinary.
std::optional<prog::Bytes> twin_of_frame(const prog::Bytes& frame);

}  // namespace grantd::model
