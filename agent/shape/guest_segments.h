// Shorter queues for what a guest sends under a limit (decision 53): its sockets build packets of up to 64 KiB, two of
// which wait at any time, whatever the rate. Its end of the link is told to take smaller ones. Nothing that is enforced
// rests on this.
#pragma once

#include "agent/compile/node_facts.h"
#include "maps/result.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

inline constexpr std::uint32_t kAllSegments = 65535;  // what the kernel gives a new interface

// Segments of one packet (gso_max_segs) of a guest that shares this egress rate with others: a quarter of a
// millisecond of its part, at least one. kAllSegments where that is a whole packet of 64 KiB.
std::uint32_t segments_under(std::uint64_t rate_bps, std::size_t guests);

// What each guest's end is to take, by the index of the host's end. Guests of a refused Grant are not in it: what they
// are under is not known here. Where nothing waits, all are to take what they took.
std::map<std::uint32_t, std::uint32_t> wanted_segments(const CompiledPolicy& policy, bool queues);

// Whether there is another end whose setting the kernel tells.
inline bool has_segments(const InterfaceFact& host_end) {
  return host_end.peer_netns_id >= 0 && host_end.peer_segments != 0;
}

// Sets gso_max_segs of the other end, in its own network namespace. EPERM where the caller may not go there (it takes
// CAP_SYS_ADMIN), ENOENT where it is not to be found.
Result<void> set_segments(const InterfaceFact& host_end, std::uint32_t segments);

// The one who brings guests' ends to what is wanted.
class GuestSegments {
 public:
  using Setter = std::function<Result<void>(const InterfaceFact& host_end, std::uint32_t segments)>;
  explicit GuestSegments(Setter setter = set_segments) : setter_(std::move(setter)) {}
  std::size_t remembered() const { return set_.size() + failed_.size(); }  // interfaces, once for each way it went

  // The facts say afterwards what was set. What cannot be done is returned, once for each interface and reason. It is
  // tried again after a minute, and where another number is wanted; but for EPERM.
  std::vector<std::string> keep(const std::map<std::uint32_t, std::uint32_t>& wanted,
                                std::vector<InterfaceFact>& interfaces, BootNanoseconds now);

 private:
  struct End {
    int netns_id = -1;
    std::uint32_t ifindex = 0;
    auto operator<=>(const End&) const = default;
  };
  struct Failure {
    End end;
    std::uint32_t segments = 0;
    Error error;
    BootNanoseconds tried = 0;
  };
  static bool is_due(const Failure& failure, std::uint32_t segments, BootNanoseconds now);

  Setter setter_;
  // By the index of the host's end.
  std::map<std::uint32_t, End> set_;
  std::map<std::uint32_t, Failure> failed_;
};

}  // namespace grantd
