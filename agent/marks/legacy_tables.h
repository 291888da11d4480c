// The blob that the kernel gives of a legacy table. Pure.
#pragma once

#include "agent/marks/xt_extensions.h"
#include "maps/result.h"

#include <map>
#include <string>

namespace grantd {

enum class XtFamily { IPv4, IPv6 };

// `table`: what owners are called, "iptables mangle"; `chains`: offset of the first rule of each built-in
// chain -> its name. Fails where the blob is not what it should be; what came before is in the facts.
Result<void> legacy_table_marks(XtFamily family, const std::string& table,
                                const std::map<std::size_t, std::string>& chains, Bytes blob, MarkFacts& facts);

}  // namespace grantd
