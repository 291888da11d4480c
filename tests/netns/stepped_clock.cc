// Preloaded into a real binary: its wall clock is ahead of the machine's by what a page shared with the test says
// (stepped_clock.py). The kernel tells a process that the clock was set by a timer that can be read then; a FIFO that
// the test writes to stands for that one, since the clock of the machine is everybody's.
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

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
  const char* const path = std::getenv("GRANTD_STEPPED_CLOCK");
  const int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
  void* const mapped = file < 0 ? MAP_FAILED : mmap(nullptr, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (mapped == MAP_FAILED) {
    std::fprintf(stderr, "GRANTD_STEPPED_CLOCK: no such page\n");
    std::abort();
  }
  close(file);
  unsetenv("LD_PRELOAD");  // what the binary starts is not under test
  std::snprintf(steps, sizeof(steps), "%s.steps", path);
  ahead = static_cast<std::atomic<std::int64_t>*>(mapped);
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
