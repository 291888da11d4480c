// Ranges of addresses with a meaning of their own.
#pragma once

#include "maps/address.h"

#include <vector>

namespace grantd {

// Loopback and link-local, the metadata address with it: protected on every node.
const std::vector<IpPrefix>& always_protected();

// `internet`: the wide unicast ranges, and inside them what is not globally reachable, and inside
// that again what is. Source: IANA's special-purpose address registries for IPv4 and IPv6
// (RFC 6890 and updates), column "globally reachable". 64:ff9b::/96 (NAT64) is left out although it is
// listed: it would reach every IPv4 address behind the translator, private ones too. 6to4 (2002::/16,
// 192.88.99.0/24) for the same reason.
struct InternetPrefix {
  IpPrefix prefix;
  bool reachable;
};
const std::vector<InternetPrefix>& internet_prefixes();

// Whether a realm's prefix lies in what only tailnets use: 100.64.0.0/10, fd7a:115c:a1e0::/48.
bool is_tailnet_prefix(const IpPrefix& prefix);

}  // namespace grantd
