// The grammar of allowedDestinations, which `grantctl explain` speaks too.
#pragma once

#include "crd-sync/resources.h"
#include "maps/result.h"

#include <string>
#include <string_view>

namespace grantd {

//   HOST[:PORT[-PORT][/PROTOCOL]] or HOST:PROTOCOL
//   HOST      IPv4[/N], [IPv6[/N]], IPv6[/N] where no port follows, realm:NAME, NAME of a realm,
//             internet, service:NAMESPACE/NAME
//   PROTOCOL  TCP, UDP, SCTP, ICMP; without one: TCP and UDP where a port is named, else all.
//             ICMP has no ports.
// The position is left empty.
Result<Destination> parse_destination(std::string_view text);

// Why no Grant can open this destination, whatever it says; "" where one can. A wide prefix that merely contains
// such addresses can be opened.
std::string never_granted(const Destination& destination);

inline constexpr std::string_view kAcceptedUnicast =
    "unicast addresses that packets on a wire may have, or a wider prefix around them";

inline constexpr std::string_view kAcceptedDestination =
    "HOST[:PORT[-PORT][/PROTOCOL]] with HOST an IPv4[/N], [IPv6[/N]], realm:NAME, NAME, internet or "
    "service:NAMESPACE/NAME, PORT 1 to 65535, PROTOCOL TCP, UDP or SCTP; HOST:ICMP without a port";

const char* protocol_name(Protocol protocol);    // "TCP"; Any: "all"
const char* protocol_name(std::uint8_t number);  // of IPPROTO_*; null where a Grant cannot name it

}  // namespace grantd
