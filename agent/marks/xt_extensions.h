// The extensions of x_tables that have to do with marks: their binary parameters, which legacy tables and
// iptables-nft share. Pure.
#pragma once

#include "agent/marks/mark_use.h"

#include <span>
#include <string>
#include <string_view>

namespace grantd {

using Bytes = std::span<const unsigned char>;

// One match (-m NAME), or one target (-j NAME), of a rule of the owner. Others than those of marks are none.
void xt_match_marks(const std::string& owner, std::string_view name, unsigned int revision, Bytes info,
                    MarkFacts& facts);
void xt_target_marks(const std::string& owner, std::string_view name, unsigned int revision, Bytes info,
                     MarkFacts& facts);

}  // namespace grantd
