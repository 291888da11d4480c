// Settings of where the container runtime is asked, beside a path.
#pragma once

namespace grantd {

inline constexpr const char* kAnyCriSocket = "auto";  // the first of the usual ones that is there
inline constexpr const char* kNoCriSocket = "none";   // not at all

}  // namespace grantd
