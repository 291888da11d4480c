#include "agent/node/node_time.h"

#include "agent/compile/validity.h"

#include <algorithm>
#include <utility>

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

Result<NodeTime> NodeTime::open(const std::string& state_dir, bool trust_clock, std::uint64_t known_offset_ns,
                                std::function<bool()> synchronised) {
  auto clock = NodeClock::open(known_offset_ns);
  if (!clock) return clock.error();
  NodeTime time(std::move(clock).value(), LatchFile(state_dir));
  time.trust_clock_ = trust_clock;
  time.synchronised_ = std::move(synchronised);
  auto latches = time.file_.load();
  if (latches) {
    time.latches_ = latches.value();
    time.saved_ = latches.value();
  } else {
    time.damaged_ = latches.error().message;
  }
  // The datapath went on ending Grants by that reckoning, whatever became of the clock since. One that is further ahead
  // than what was trusted has ended none: dated Grants were in quarantine.
  const auto tolerated = time.latches_.trusted_offset_ns.value_or(known_offset_ns) + NodeClock::kToleranceNs;
  if (known_offset_ns && known_offset_ns <= tolerated) time.latch_highest(wall_by(known_offset_ns, boot_now()));
  return time;
}

void NodeTime::latch_highest(WallTime time) { latches_.highest_seen = std::max(latches_.highest_seen, time); }

bool NodeTime::drain() {
  if (was_trusted_) latch_highest(clock_.wall(boot_now()));  // not yet by the new reckoning
  return clock_.drain();
}

bool NodeTime::trusted(WallTime now, std::vector<Problem>& problems) const {
  if (!damaged_.empty()) {
    problems.push_back(clock_problem(damaged_ + "; dated Grants are in quarantine", ""));
    return false;
  }
  if (now + kBackwardTolerance < latches_.highest_seen) {
    problems.push_back(clock_problem("is behind a time that this node has seen; dated Grants are in quarantine",
                                     "a clock that is right; where it was ahead before, " + file_.path() +
                                         " removed (docs/operations.md, \"A clock that was ahead\")"));
    return false;
  }
  if (!trust_clock_ && !synchronised_()) {
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
  facts.trusted = was_trusted_ = trusted(facts.now, problems);
  facts.revoked_at = latches_.revoked_at;
  facts.notice_ends = latches_.notice_ends;
  facts.expired = latches_.expired;
  facts = latch(facts, grants);
  if (!damaged_.empty()) return facts;

  latches_.revoked_at = facts.revoked_at;
  latches_.notice_ends = facts.notice_ends;
  latches_.expired = facts.expired;
  // A clock that may be wrong is not to close a Grant by the time of one that is right later.
  if (facts.trusted) {
    latch_highest(facts.now);
    latches_.trusted_offset_ns = std::max(latches_.trusted_offset_ns.value_or(0), clock_.boot_to_wall_ns());
  }
  return facts;
}

void NodeTime::keep(std::vector<Problem>& problems) {
  if (!damaged_.empty()) return;  // what cannot be read is not written over
  if (saved_) {
    Latches but_for_time = latches_;
    if (was_trusted_ && latches_.highest_seen < saved_->highest_seen + kHighestEvery)
      but_for_time.highest_seen = saved_->highest_seen;
    if (but_for_time == *saved_) return;
  }
  if (auto saved = file_.save(latches_); saved)
    saved_ = latches_;
  else
    problems.push_back(clock_problem(saved.error().message + "; a restart may forget what has expired", ""));
}

}  // namespace grantd
