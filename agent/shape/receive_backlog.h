// What CPUs have been given to receive and have not looked at yet: packets between our queue and the program behind it.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string_view>

namespace grantd {

// Packets by CPU; nothing where the text is not that of /proc/net/softnet_stat, or of a kernel that does not tell
// (before 5.10). Source: softnet_seq_show() in the kernel's net/core/net-procfs.c.
std::optional<std::map<unsigned, unsigned>> receive_backlogs(std::string_view softnet_stat);

// Waits until every CPU has had nothing left: then what left the queue before the call has been looked at. False where
// that was not seen in time, or the kernel does not tell.
bool nothing_left_to_receive(std::chrono::milliseconds patience);

}  // namespace grantd
