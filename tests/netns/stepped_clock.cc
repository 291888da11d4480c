// Preloaded into a real binary: its wall clock is ahead of the machine's by what a page shared with the test says
// (stepped_clock.py). The kernel tells a process that the clock was set by a timer that can be read then; a FIFO that
// the test writes to stands for that one, since the clock of the machine is everybody's.
#include "tests/netns/shared_page.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/timerfd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;

std::atomic<std::int64_t>* ahead = nullptr;  // nanoseconds
char steps[4096];
std::atomic<int> timer = -1;

__attribute__((constructor)) void open_page() {
  ahead = shared_page<std::atomic<std::int64_t>>("GRANTD_STEPPED_CLOCK");
  std::snprintf(steps, sizeof(steps), "%s.steps", std::getenv("GRANTD_STEPPED_CLOCK"));
}

}  // namespace

#define NEXT(name) static const auto next = reinterpret_cast<decltype(&name)>(dlsym(RTLD_NEXT, #name))

extern "C" {

int clock_gettime(clockid_t clock, timespec* time) noexcept {
  NEXT(clock_gettime);
  const int done = next(clock, time);
  if (done != 0 || clock != CLOCK_REALTIME || !ahead) return done;
  const std::int64_t now = time->tv_sec * kSecond + time->tv_nsec + *ahead;
  time->tv_sec = now / kSecond;
  time->tv_nsec = now % kSecond;
  return 0;
}

int timerfd_create(clockid_t clock, int flags) noexcept {
  NEXT(timerfd_create);
  if (clock != CLOCK_REALTIME) return next(clock, flags);
  return timer = open(steps, O_RDWR | O_NONBLOCK | O_CLOEXEC);
}

int timerfd_settime(int file, int flags, const itimerspec* value, itimerspec* old) noexcept {
  NEXT(timerfd_settime);
  return file == timer ? 0 : next(file, flags, value, old);
}

}  // extern "C"
