// The grammar of allowedDestinations, which `grantctl explain` speaks too.
#pragma once

#include "crd-sync/resources.h"
#include "maps/result.h"

#include <string_view>

namespace grantd {

//   HOST[:PORT[-PORT][/PROTOCOL]] or HOST:PROTOCOL
//   HOST      IPv4[/N], [IPv6[/N]], IPv6[/N] where no port follows, realm:NAME, NAME of a realm,
//             internet, service:NAMESPACE/NAME
//   PROTOCOL  TCP, UDP, SCTP, ICMP; without one: TCP and UDP where a port is named, else all.
//             ICMP has no ports; in a port's place only the type of an echo request is accepted.
// The position is left empty.
Result<Destination> parse_destination(std::string_view text);

inline constexpr std::string_view kAcceptedDestination =
    "HOST[:PORT[-PORT][/PROTOCOL]] with HOST an IPv4[/N], [IPv6[/N]], realm:NAME, NAME, internet or "
    "service:NAMESPACE/NAME, PORT 1 to 65535, PROTOCOL TCP, UDP, SCTP or ICMP";

const char* protocol_name(Protocol protocol);  // "TCP"; Any: "all"

}  // namespace grantd
