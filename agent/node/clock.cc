#include "agent/node/clock.h"

#include <sys/timerfd.h>
#include <sys/timex.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>

namespace grantd {

namespace {

std::uint64_t read_clock(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * GRANTD_NS_PER_SECOND + static_cast<std::uint64_t>(time.tv_nsec);
}

// The closest of a few readings, so that being preempted between the two clocks does not count.
std::uint64_t measure_offset() {
  std::uint64_t best = 0, narrowest = ~0ULL;
  for (int attempt = 0; attempt < 5; attempt++) {
    const std::uint64_t before = read_clock(CLOCK_BOOTTIME), wall = read_clock(CLOCK_REALTIME),
                        after = read_clock(CLOCK_BOOTTIME);
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    best = wall - (before + narrowest / 2);
  }
  return best;
}

bool close_to(std::uint64_t one, std::uint64_t other) {
  return (one > other ? one - other : other - one) <= NodeClock::kToleranceNs;
}

}  // namespace

unsigned configured_cpus() {
  const long count = sysconf(_SC_NPROCESSORS_CONF);
  return count > 0 ? static_cast<unsigned>(count) : 1;
}

WallTime wall_by(std::uint64_t offset_ns, BootNanoseconds boot) {
  return WallTime(std::chrono::nanoseconds(static_cast<std::int64_t>(boot + offset_ns)));
}

BootNanoseconds boot_now() { return read_clock(CLOCK_BOOTTIME); }

Result<NodeClock> NodeClock::open(std::uint64_t known_offset_ns) {
  NodeClock clock;
  clock.timer_ = Descriptor(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!clock.timer_.valid()) return system_error("timerfd_create", errno);
  if (auto armed = clock.arm(); !armed) return armed.error();
  clock.offset_ns_ = measure_offset();
  if (close_to(clock.offset_ns_, known_offset_ns)) clock.offset_ns_ = known_offset_ns;
  return clock;
}

// Far away: it fires only because the clock is set.
Result<void> NodeClock::arm() {
  itimerspec when{};
  when.it_value.tv_sec = static_cast<time_t>(read_clock(CLOCK_REALTIME) / GRANTD_NS_PER_SECOND) + 10L * 365 * 24 * 3600;
  if (timerfd_settime(timer_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &when, nullptr) != 0)
    return system_error("timerfd_settime", errno);
  return {};
}

bool NodeClock::drain() {
  std::uint64_t expirations = 0;
  (void)!read(timer_.get(), &expirations, sizeof(expirations));  // ECANCELED: the clock was set
  (void)arm().ok();
  const std::uint64_t measured = measure_offset();
  if (close_to(measured, offset_ns_)) return false;
  offset_ns_ = measured;
  return true;
}

WallTime NodeClock::wall(BootNanoseconds boot) const { return wall_by(offset_ns_, boot); }

bool NodeClock::synchronised() {
  timex state{};
  const int result = adjtimex(&state);
  return result >= 0 && result != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace grantd
