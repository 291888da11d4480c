// A token bucket as it must be, seen through a clock that is read before and after: the most and the least that it may
// lack of being full.
#pragma once

#include "agent/compile/compiled_policy.h"

#include <algorithm>
#include <optional>

namespace grantd::model {

class Bucket {
 public:
  Bucket(double bits_per_second, double burst_bytes, BootNanoseconds now)
      : fastest_(per_ns(bits_per_second)),
        slowest_(fastest_),
        rate_(fastest_),
        burst_(burst_bytes),
        least_at_(now),
        most_at_(now) {}

  // Another limit from now on; what was used stays used. Nothing: no limit, and nobody pays.
  void change(std::optional<double> bits_per_second, double burst_bytes) {
    limited_ = bits_per_second.has_value();
    if (!limited_ || (per_ns(*bits_per_second) == rate_ && burst_bytes == burst_)) return;
    rate_ = per_ns(*bits_per_second);
    // A debt that the new burst has no room for is owed until there is room. The node may not have seen this limit
    // before another one comes; so it is certain of the most only once somebody takes from it.
    burst_ = burst_bytes;
    least_.hold(burst_);
    most_ = {most_.debt + most_.owed, 0};
    unseen_ = true;
    // Until somebody takes from it, time counts at the rate at which somebody last did.
    fastest_ = std::max(fastest_, rate_);
    slowest_ = std::min(slowest_, rate_);
    passed_since_change_ = 0;
  }
  bool is_limited() const { return limited_; }

  // Bytes that passed, or were refused, between two moments. False: this bucket could not have said so.
  bool passed(double bytes, BootNanoseconds begin, BootNanoseconds end) {
    fill(begin, end);
    // What a CPU has borrowed of a larger burst it may still spend under a smaller one.
    const bool could = least_.debt + bytes <= burst_ + 1 || passed_since_change_ + bytes <= lent();
    least_.debt += bytes;
    passed_since_change_ += bytes;
    if (passed_since_change_ > lent()) see_limit();
    most_.debt = std::min(most_.debt + bytes, std::max(burst_, most_.debt));
    return could;
  }
  bool refused(double bytes, BootNanoseconds begin, BootNanoseconds end) {
    fill(begin, end);
    see_limit();
    return most_.debt + lent() + bytes > burst_ - 1;
  }

 private:
  static double per_ns(double bits_per_second) { return bits_per_second / 8 / 1e9; }
  // What all CPUs may have taken and not used (decision 5).
  double lent() const { return burst_ / 16; }

  // What the bucket lacks of being full, and what it owes besides.
  struct Lack {
    double debt = 0, owed = 0;  // bytes
    void hold(double burst) {
      const double whole = debt + owed;
      debt = std::min(whole, burst);
      owed = whole - debt;
    }
    void fill(double bytes) {
      owed = std::max(0.0, owed - std::max(0.0, bytes - debt));
      debt = std::max(0.0, debt - bytes);
    }
  };

  // Somebody took from it, or would have.
  void see_limit() {
    fastest_ = slowest_ = rate_;
    if (unseen_) most_.hold(burst_);
    unseen_ = false;
  }

  void fill(BootNanoseconds begin, BootNanoseconds end) {
    least_.fill(fastest_ * static_cast<double>(end - least_at_));
    most_.fill(slowest_ * static_cast<double>(begin - most_at_));
    least_at_ = begin;
    most_at_ = end;
  }

  double fastest_, slowest_, rate_, burst_;
  double passed_since_change_ = 0;  // bytes
  Lack least_, most_;
  bool unseen_ = false;  // the limit, by the node
  BootNanoseconds least_at_, most_at_;
  bool limited_ = true;
};

}  // namespace grantd::model
