#include "agent/run/event_loop.h"

#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#include <array>
#include <cerrno>
#include <csignal>

namespace grantd {

namespace {

Result<void> add(const Descriptor& epoll, int fd) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event) != 0) return system_error("epoll_ctl", errno);
  return {};
}

}  // namespace

Result<EventLoop> EventLoop::open() {
  EventLoop loop;
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) return system_error("sigprocmask", errno);
  loop.epoll_ = Descriptor(epoll_create1(EPOLL_CLOEXEC));
  loop.signals_ = Descriptor(signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC));
  loop.alarm_ = Descriptor(timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC));
  for (const Descriptor* each : {&loop.epoll_, &loop.signals_, &loop.alarm_})
    if (!each->valid()) return system_error("cannot make the event loop", errno);
  for (const Descriptor* each : {&loop.signals_, &loop.alarm_})
    if (auto added = add(loop.epoll_, each->get()); !added) return added.error();
  return loop;
}

Result<void> EventLoop::watch(int fd, std::function<void()> readable) {
  readable_[fd] = std::move(readable);
  return add(epoll_, fd);
}

void EventLoop::set_alarm(BootNanoseconds due) {
  itimerspec when{};  // zero: off
  if (due != ~0ULL) {
    when.it_value.tv_sec = static_cast<time_t>(due / GRANTD_NS_PER_SECOND);
    when.it_value.tv_nsec = static_cast<long>(due % GRANTD_NS_PER_SECOND) + 1;  // never zero
    if (when.it_value.tv_nsec >= static_cast<long>(GRANTD_NS_PER_SECOND)) when.it_value.tv_nsec--;
  }
  timerfd_settime(alarm_.get(), TFD_TIMER_ABSTIME, &when, nullptr);
}

Result<EventLoop::Woken> EventLoop::wait() {
  std::array<epoll_event, 16> events{};
  const int count = epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), -1);
  if (count < 0) {
    if (errno == EINTR) return Woken::Work;
    return system_error("epoll_wait", errno);
  }
  Woken woken = Woken::Work;
  for (int index = 0; index < count; index++) {
    const int fd = events[static_cast<std::size_t>(index)].data.fd;
    if (fd == signals_.get()) {
      signalfd_siginfo info{};
      while (read(fd, &info, sizeof(info)) == sizeof(info)) {
        if (info.ssi_signo == SIGHUP) {
          if (woken != Woken::Stop) woken = Woken::Reload;
        } else {
          woken = Woken::Stop;
        }
      }
    } else if (fd == alarm_.get()) {
      std::uint64_t expirations = 0;
      (void)!read(fd, &expirations, sizeof(expirations));
    } else if (const auto found = readable_.find(fd); found != readable_.end()) {
      found->second();
    }
  }
  return woken;
}

}  // namespace grantd
