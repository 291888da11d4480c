// What is known of time on this node, with what it must remember on disk.
#pragma once

#include "agent/node/clock.h"
#include "agent/node/latches.h"

#include <functional>
#include <optional>
#include <string>

namespace grantd {

class NodeTime {
 public:
  // `known_offset_ns`: as for NodeClock. By that, Grants may have ended while no agent ran. `synchronised`: what the
  // kernel says of its clock.
  static Result<NodeTime> open(const std::string& state_dir, bool trust_clock, std::uint64_t known_offset_ns,
                               std::function<bool()> synchronised = NodeClock::synchronised);

  int fd() const { return clock_.fd(); }
  bool drain();
  std::uint64_t boot_to_wall_ns() const { return clock_.boot_to_wall_ns(); }

  // The facts for compile, with everything latched that these Grants give reason to. Problems: a clock that is not
  // trusted.
  TimeFacts facts(const std::vector<Grant>& grants, std::vector<Problem>& problems);
  // Writes down what the last facts() have latched, where that is new. After what follows from it is in force: a slow
  // disk delays no revocation. Problems: a disk that does not take it.
  void keep(std::vector<Problem>& problems);

 private:
  bool trusted(WallTime now, std::vector<Problem>& problems) const;
  void latch_highest(WallTime time);

  NodeTime(NodeClock clock, LatchFile file) : clock_(std::move(clock)), file_(std::move(file)) {}

  NodeClock clock_;
  LatchFile file_;
  Latches latches_;
  std::optional<Latches> saved_;
  std::string damaged_;  // why the file could not be read
  bool trust_clock_ = false;
  std::function<bool()> synchronised_;
  bool was_trusted_ = false;  // by the last facts()
};

}  // namespace grantd
