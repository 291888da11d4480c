// One rule of nftables as the kernel tells it, followed from expression to expression. Pure.
#pragma once

#include "agent/marks/mark_use.h"

#include <netlink/msg.h>

namespace grantd {

// A message of the type NFT_MSG_NEWRULE. What is not understood in it is taken for something that may write
// any mark, never for something that keeps it.
void nftables_rule_marks(nlmsghdr* message, MarkFacts& facts);

}  // namespace grantd
