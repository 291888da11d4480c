// The marks that policy routing rules and netfilter rules of this network namespace use. No program is
// needed for it, and nothing is changed.
#pragma once

#include "agent/marks/mark_use.h"
#include "maps/result.h"

#include <array>

namespace grantd {

// By source: policy routing, nftables, legacy tables.
using MarkSources = std::array<MarkFacts, 3>;

// Everything below. May take long where there are many rules: not for the event loop.
MarkSources read_mark_sources();
MarkFacts all_marks(const MarkSources& sources);

// Policy routing rules of both families, by rtnetlink.
Result<void> read_routing_marks(MarkFacts& facts);
// Rules of nftables of all families, by netlink: those of iptables-nft are among them. Where nf_tables is a
// module that is not loaded, the kernel may load it.
Result<void> read_nftables_marks(MarkFacts& facts);
// Rules of the tables that iptables-legacy and ip6tables-legacy have made, by getsockopt. A table that is not
// there is not asked for: asking would make it. A table that cannot be read is among those unread.
void read_legacy_marks(MarkFacts& facts);

}  // namespace grantd
