// What only the agent knows, handed over to the metrics as an immutable value. Everything else they
// read from the maps.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

// Durations by upper bound, as Prometheus counts them.
class DurationHistogram {
 public:
  static constexpr std::array<double, 12> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                                     0.05,   0.1,   0.25,   0.5,   1,    5};  // seconds

  void add(std::uint64_t nanoseconds) {
    const double seconds = static_cast<double>(nanoseconds) / 1e9;
    for (std::size_t index = 0; index < kBounds.size(); index++)
      if (seconds <= kBounds[index]) cumulative_[index]++;
    count_++;
    sum_seconds_ += seconds;
  }
  const std::array<std::uint64_t, kBounds.size()>& cumulative() const { return cumulative_; }
  std::uint64_t count() const { return count_; }
  double sum_seconds() const { return sum_seconds_; }

 private:
  std::array<std::uint64_t, kBounds.size()> cumulative_{};
  std::uint64_t count_ = 0;
  double sum_seconds_ = 0;
};

// One kind of the API server's, as it is followed. Times are Unix time in nanoseconds; 0: never.
struct FollowedStatus {
  std::uint64_t relists = 0;
  std::int64_t last_contact_ns = 0;
  std::int64_t current_ns = 0;  // when what is known was last known to be current
  bool following = false;       // it is current now
};

struct SourceStatus {
  std::string source;                     // "manifests", "kubernetes", or a kind of the API server's: "pods"
  std::uint64_t errors = 0;               // loads that had an error in them, since the start
  std::int64_t last_success_seconds = 0;  // Unix time of the last load without one; 0: none yet
  std::optional<FollowedStatus> followed;
};

// What was written to the API server.
struct WrittenStatus {
  std::uint64_t status_done = 0, status_failed = 0;
  std::uint64_t events_done = 0, events_failed = 0, events_held_back = 0;
};

struct AgentStatus {
  bool ready = false;     // the first full apply is done
  std::string mechanism;  // "tcx" or "clsact"; "" before the first attach
  // NAMESPACE/NAME of each Grant that was refused, by a mistake in it or by this node. It has no slot unless an earlier
  // version of it is in force.
  std::vector<std::string> refused;
  DurationHistogram apply_durations;
  std::map<std::string, std::uint64_t> apply_errors;  // by operation_name()
  std::vector<SourceStatus> sources;
  std::uint64_t unjudged_packets = 0, forged_packets = 0;  // that the gate has dropped, as of its last look
  std::optional<std::string>
      gate_missing;  // why it may not drop them; "" where it stands; nothing before the first look
  std::optional<std::uint64_t> gate_unread_since_ns;  // boot time; where it stood, and looks at it fail
  std::uint64_t open_guests = 0;                      // that can neither be attached nor set down
  std::uint64_t drift_repaired = 0;
  // Where grantd-cni is kept in the node's chain.
  struct ChainStatus {
    bool in_place = false;
    std::uint64_t restored = 0;
  };
  std::optional<ChainStatus> chain;
  std::optional<std::uint64_t> stamp_collisions;  // nothing before the first look at the marks in use
  std::optional<WrittenStatus> written;           // where there is an API server
};

}  // namespace grantd
