// One epoll loop: descriptors with what to do when they are readable, signals, and one alarm.
#pragma once

#include "agent/compile/compiled_policy.h"
#include "maps/descriptor.h"
#include "maps/result.h"

#include <functional>
#include <map>

namespace grantd {

class EventLoop {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP for the calling thread and takes them in here.
  static Result<EventLoop> open();

  // `fd` stays the caller's.
  Result<void> watch(int fd, std::function<void()> readable);
  // Replaces the alarm: `due` in boot-time nanoseconds; ~0: none.
  void set_alarm(BootNanoseconds due);

  enum class Woken { Stop, Reload, Work };
  // Waits until something happened, and has called what was to be done for it.
  Result<Woken> wait();

 private:
  Descriptor epoll_, signals_, alarm_;
  std::map<int, std::function<void()>> readable_;
};

}  // namespace grantd
