#include "agent/compile/validity.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

namespace {

BootNanoseconds boot_time(WallTime wall, const TimeFacts& time) {
  const auto ahead = (wall - time.now).count();
  if (ahead >= 0) return time.boot_now + static_cast<BootNanoseconds>(ahead);
  const auto behind = static_cast<BootNanoseconds>(-(ahead + 1)) + 1;
  return behind < time.boot_now ? time.boot_now - behind : kAtOnce;
}

// A clock that is set back by less than what makes it distrusted gives no Grant time again.
WallTime latest(const TimeFacts& time) { return std::max(time.now, time.highest_seen); }

bool expired_before(const Grant& grant, const TimeFacts& time) {
  const auto found = time.expired.find(grant.key());
  return found != time.expired.end() && found->second == grant.spec_hash;
}

WallTime notice_end(const Grant& grant, const TimeFacts& time) {
  const auto revoked = time.revoked_at.find(grant.key());
  WallTime end = (revoked == time.revoked_at.end() ? time.now : revoked->second) + grant.notice_period;
  const auto latched = time.notice_ends.find(grant.key());
  return latched == time.notice_ends.end() ? end : std::min(end, latched->second);
}

// How long past its end a notice is remembered of a Grant that is gone, and of how many: an editor that writes a
// file anew takes it away first, and a Grant that comes back is the same as before.
constexpr auto kRememberGone = std::chrono::hours(24);
constexpr std::size_t kMaxGone = 1024;

// The notices of Grants that are not there, the latest ends first where there are too many.
void keep_gone(const TimeFacts& time, const std::set<std::string>& there, TimeFacts& next) {
  std::vector<std::pair<WallTime, std::string>> gone;
  for (const auto& [key, end] : time.notice_ends)
    if (!there.contains(key) && (!time.trusted || time.now < end + kRememberGone)) gone.emplace_back(end, key);
  std::sort(gone.rbegin(), gone.rend());
  if (gone.size() > kMaxGone) gone.resize(kMaxGone);
  for (const auto& [end, key] : gone) {
    next.notice_ends[key] = end;
    if (const auto revoked = time.revoked_at.find(key); revoked != time.revoked_at.end())
      next.revoked_at[key] = revoked->second;
  }
}

// A revocation that was seen at a time still to come was seen by a clock that was ahead, and was not trusted: its
// notice is no longer for that.
TimeFacts without_times_to_come(TimeFacts time) {
  if (!time.trusted) return time;
  for (auto& [key, seen] : time.revoked_at) {
    if (seen <= latest(time)) continue;
    if (const auto end = time.notice_ends.find(key); end != time.notice_ends.end()) end->second -= seen - time.now;
    seen = time.now;
  }
  return time;
}

}  // namespace

bool judge_validity(const Grant& grant, const TimeFacts& time, CompiledGrant& compiled) {
  compiled.valid_from = grant.valid_from;
  compiled.valid_until = grant.valid_until;
  compiled.phase = GRANTD_PHASE_ACTIVE;
  if (grant.valid_from) {
    compiled.not_before = boot_time(*grant.valid_from, time);
    if (time.now < *grant.valid_from) compiled.phase = GRANTD_PHASE_PENDING;
  }
  if (grant.valid_until) {
    compiled.not_after = boot_time(*grant.valid_until, time);
    if (time.now >= *grant.valid_until) compiled.phase = GRANTD_PHASE_EXPIRED;
  }
  if (grant.revoked) {
    compiled.phase = GRANTD_PHASE_REVOKED;
    const WallTime end = notice_end(grant, time);
    const bool over = grant.notice_period.count() == 0 || end <= latest(time);
    const BootNanoseconds end_ns = over ? kAtOnce : boot_time(end, time);
    if (end_ns < compiled.not_after) {
      compiled.not_after = end_ns;
      compiled.end_reason = GRANTD_REASON_REVOKED;
    }
  }
  if (expired_before(grant, time)) {
    compiled.phase = GRANTD_PHASE_EXPIRED;
    compiled.not_after = 1;
    compiled.end_reason = GRANTD_REASON_EXPIRED;
  }
  const bool dated = grant.valid_from || grant.valid_until || (grant.revoked && grant.notice_period.count() > 0);
  if (dated && !time.trusted) {
    compiled.quarantine = "the clock of this node is not trusted, and the Grant has dates";
    compiled.cause = Cause::ClockNotTrusted;
  }
  return !grant.revoked;
}

TimeFacts latch(const TimeFacts& remembered, const std::vector<Grant>& grants) {
  const TimeFacts time = without_times_to_come(remembered);
  TimeFacts next = time;
  next.revoked_at.clear();
  next.notice_ends.clear();
  next.expired.clear();
  std::set<std::string> there;
  for (const Grant& grant : grants) {
    const std::string key = grant.key();
    there.insert(key);
    if (grant.revoked) {
      const auto seen = time.revoked_at.find(key);
      next.revoked_at[key] = seen == time.revoked_at.end() ? time.now : seen->second;
      next.notice_ends[key] = notice_end(grant, next);
      const auto end = time.notice_ends.find(key);
      if (end != time.notice_ends.end()) next.notice_ends[key] = std::min(next.notice_ends[key], end->second);
    }
    const bool over = time.trusted && grant.valid_until && latest(time) >= *grant.valid_until;
    if (over || expired_before(grant, time)) next.expired[key] = grant.spec_hash;
  }
  keep_gone(time, there, next);
  return next;
}

}  // namespace grantd
