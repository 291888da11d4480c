// Wall clock and boot clock, and what tells that the first one was set.
#pragma once

#include "agent/compile/node_facts.h"
#include "maps/descriptor.h"
#include "maps/result.h"

namespace grantd {

BootNanoseconds boot_now();
WallTime wall_by(std::uint64_t offset_ns, BootNanoseconds boot);

// Those that the kernel may ever run, which share a bucket's burst.
unsigned configured_cpus();

class NodeClock {
 public:
  // `known_offset_ns`: wall minus boot, as reckoned by an earlier agent of this boot; 0 where
  // there is none. It stays in use while it is right to kTolerance, so that a restart does not move the
  // ends of Grants by the few microseconds between two readings.
  static Result<NodeClock> open(std::uint64_t known_offset_ns);

  int fd() const { return timer_.get(); }  // readable when the wall clock was set
  // Reckons anew. True where the offset changed.
  bool drain();
  std::uint64_t boot_to_wall_ns() const { return offset_ns_; }
  WallTime wall(BootNanoseconds boot) const;

  static bool synchronised();  // adjtimex(2)

  static constexpr std::uint64_t kToleranceNs = 10'000'000;

 private:
  Result<void> arm();

  Descriptor timer_;
  std::uint64_t offset_ns_ = 0;
};

}  // namespace grantd
