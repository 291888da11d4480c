// How long to wait after failures in a row: .8 s, doubled up to 30 s, of which a random part is
// waited, so that the nodes of a cluster do not come back all at once.
#pragma once

#include <chrono>
#include <cstdint>
#include <random>

namespace grantd {

class Backoff {
 public:
  using Duration = std::chrono::milliseconds;
  static constexpr Duration kFirst{800}, kLast{30'000};
  // A server that asks for more is not believed.
  static constexpr Duration kMostAsked{120'000};

  explicit Backoff(std::uint64_t seed, Duration first = kFirst) : random_(seed), first_(first) {}

  // Half to all of the time that is due, but never less than the server `asked` for.
  Duration next(Duration asked = Duration{0});
  void reset() { failures_ = 0; }
  int failures() const { return failures_; }

 private:
  std::mt19937_64 random_;
  Duration first_;
  int failures_ = 0;
};

}  // namespace grantd
