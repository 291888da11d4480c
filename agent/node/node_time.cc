#include "agent/node/node_time.h"

#include "agent/compile/validity.h"

#include <algorithm>

namespace grantd {

namespace {

// How often the highest time is written down where nothing else changes.
constexpr std::chrono::seconds kHighestEvery{60};
// Less than a step: clocks are slewed back by milliseconds all the time.
constexpr std::chrono::seconds kBackwardTolerance{2};

Problem clock_problem(std::string message, std::string accepted) {
  Problem problem;
  problem.object = "clock of this node";
  problem.message = std::move(message);
  problem.accepted = std::move(accepted);
  return problem;
}

}  // namespace

Result<NodeTime> NodeTime::open(const std::string& state_dir, bool trust_clock, std::uint64_t known_offset_ns) {
  auto clock = NodeClock::open(known_offset_ns);
  if (!clock) return clock.error();
  NodeTime time(std::move(clock).value(), LatchFile(state_dir));
  time.trust_clock_ = trust_clock;
  auto latches = time.file_.load();
  if (latches) {
    time.latches_ = latches.value();
    time.saved_ = latches.value();
  } else {
    time.damaged_ = latches.error().message;
  }
  // The datapath went on ending Grants by that reckoning, whatever became of the clock since.
  if (known_offset_ns)
    time.latches_.highest_seen = std::max(time.latches_.highest_seen, wall_by(known_offset_ns, boot_now()));
  return time;
}

bool NodeTime::drain() {
  latches_.highest_seen = std::max(latches_.highest_seen, clock_.wall(boot_now()));  // not yet by the new reckoning
  return clock_.drain();
}

bool NodeTime::trusted(WallTime now, std::vector<Problem>& problems) const {
  if (!damaged_.empty()) {
    problems.push_back(clock_problem(damaged_ + "; dated Grants are in quarantine", ""));
    return false;
  }
  if (now + kBackwardTolerance < latches_.highest_seen) {
    problems.push_back(clock_problem("is behind a time that this node has seen; dated Grants are in quarantine",
                                     "a clock that is right"));
    return false;
  }
  if (!trust_clock_ && !NodeClock::synchronised()) {
    problems.push_back(
        clock_problem("is not synchronised; dated Grants are in quarantine", "a clock kept by NTP, or --trust-clock"));
    return false;
  }
  return true;
}

TimeFacts NodeTime::facts(const std::vector<Grant>& grants, std::vector<Problem>& problems) {
  TimeFacts facts;
  facts.boot_now = boot_now();
  facts.now = clock_.wall(facts.boot_now);
  facts.highest_seen = latches_.highest_seen;
  facts.trusted = trusted(facts.now, problems);
  facts.revoked_at = latches_.revoked_at;
  facts.notice_ends = latches_.notice_ends;
  facts.expired = latches_.expired;
  facts = latch(facts, grants);
  if (!damaged_.empty()) return facts;  // what cannot be read is not written over

  Latches next{latches_.highest_seen, facts.revoked_at, facts.notice_ends, facts.expired};
  const bool only_time = saved_ && next == *saved_ && facts.now < saved_->highest_seen + kHighestEvery;
  next.highest_seen = std::max(latches_.highest_seen, facts.now);
  latches_ = next;
  if (only_time) return facts;
  if (auto saved = file_.save(next); saved)
    saved_ = next;
  else
    problems.push_back(clock_problem(saved.error().message + "; a restart may forget what has expired", ""));
  return facts;
}

}  // namespace grantd
