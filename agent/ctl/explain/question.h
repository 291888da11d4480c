// What `grantctl explain SOURCE DESTINATION` is asked. Pure.
#pragma once

#include "crd-sync/resources.h"
#include "maps/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

// One packet to try: the first of a connection or exchange.
struct Probe {
  Protocol protocol = Protocol::Tcp;  // never Any
  std::uint16_t port = 0;             // that the initiator sends to; 0 for ICMP
  auto operator<=>(const Probe&) const = default;
};

struct End {
  std::string guest;                 // a guest's name, or
  std::optional<IpAddress> address;  // an address
};

struct Question {
  End source, destination;
  std::vector<Probe> probes;  // never empty
};

// An end is ADDRESS or GUEST; one of them may carry the port that the initiator sends to, as in
// allowedDestinations: "203.0.113.7:443/TCP", "[2001:db8::1]:53" (TCP and UDP), "bob-web:ICMP". Without a port an
// echo request is tried.
Result<Question> parse_question(std::string_view source, std::string_view destination);

}  // namespace grantd
