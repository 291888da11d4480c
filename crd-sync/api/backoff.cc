#include "crd-sync/api/backoff.h"

#include <algorithm>

namespace grantd {

Backoff::Duration Backoff::next(Duration asked) {
  // 30 s are reached at the seventh; shifting further would overflow.
  const Duration whole = std::min<Duration>(kLast, first_ * (1LL << std::min(failures_, 6)));
  ++failures_;
  std::uniform_int_distribution<Duration::rep> part(whole.count() / 2, whole.count());
  return std::max(Duration{part(random_)}, std::clamp(asked, Duration{0}, kMostAsked));
}

}  // namespace grantd
