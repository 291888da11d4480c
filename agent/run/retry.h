// When the agent tries again what it could not do: each time twice as late as the time before, up to a longest. Pure.
#pragma once

#include "agent/compile/compiled_policy.h"

#include <algorithm>

namespace grantd {

// Pass after pass for something else puts it off no further: events may come faster than it would be mended.
class Retry {
 public:
  Retry(BootNanoseconds first, BootNanoseconds longest) : first_(first), longest_(longest) {}

  // All was done; or what fails is to be tried soon, however long something else has failed.
  void forget() { wait_ = 0; }

  // `now`: when the pass that failed began.
  void fail(BootNanoseconds now) {
    if (wait_ != 0 && now < at_) return;
    wait_ = std::clamp(wait_ * 2, first_, longest_);
    at_ = now + wait_;
  }

  // The end of a pass that began at `now` and has something else due at `due`, which may be what fails: that too waits
  // for as long as the first time, and nothing waits for longer than the retry.
  BootNanoseconds next(BootNanoseconds now, BootNanoseconds due) const {
    return wait_ == 0 ? due : std::min(std::max(due, now + first_), at_);
  }

 private:
  BootNanoseconds first_, longest_;
  BootNanoseconds wait_ = 0, at_ = 0;
};

}  // namespace grantd
