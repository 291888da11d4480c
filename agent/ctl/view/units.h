// Numbers as people read them. ASCII throughout.
#pragma once

#include <cstdint>
#include <string>

namespace grantd {

std::string bytes_text(std::uint64_t bytes);                        // "512 B", "1.5 MiB"
std::string rate_text(std::uint64_t bits_per_second);               // "50 Mbit/s"
std::string duration_text(std::uint64_t nanoseconds);               // "350 ms", "12 s", "3 min", "5 h", "12 d"
std::string ago_text(std::uint64_t then_ns, std::uint64_t now_ns);  // "12 s ago"; "never" for 0
std::string time_text(std::int64_t unix_nanoseconds);               // "2026-01-01T00:00:00Z"

}  // namespace grantd
