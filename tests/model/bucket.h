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
      : rate_(per_ns(bits_per_second)), burst_(burst_bytes), least_at_(now), most_at_(now) {}

  // Another limit from a moment between these two on; what was used stays used, and what the new burst has no room for
  // is owed until there is room. Nothing: no limit, and nobody pays.
  void change(std::optional<double> bits_per_second, double burst_bytes, BootNanoseconds begin, BootNanoseconds end) {
    limited_ = bits_per_second.has_value();
    if (!limited_ || (per_ns(*bits_per_second) == rate_ && burst_bytes == burst_)) return;
    fill(begin, end);
    borrowed_before_ = std::max(borrowed_before_, lent());
    rate_ = per_ns(*bits_per_second);
    burst_ = burst_bytes;
    least_.hold(burst_ - lent());
    most_.hold(burst_);
    passed_since_change_ = 0;
  }
  bool is_limited() const { return limited_; }

  // Bytes that passed, or were refused, between two moments. False: this bucket could not have said so.
  bool passed(double bytes, BootNanoseconds begin, BootNanoseconds end) {
    fill(begin, end);
    // What a CPU has borrowed of a larger burst it may still spend under a smaller one.
    const bool could = least_.debt + bytes <= burst_ + borrowed_before_ + 1 || passed_since_change_ + bytes <= lent();
    least_.debt += bytes;
    passed_since_change_ += bytes;
    most_.debt = std::min(most_.debt + bytes, std::max(burst_, most_.debt));
    return could;
  }
  bool refused(double bytes, BootNanoseconds begin, BootNanoseconds end) {
    fill(begin, end);
    return most_.debt + lent() + borrowed_before_ + bytes > burst_ - 1;
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
    void fill(double bytes) { debt = std::max(0.0, debt - bytes); }
  };

  void fill(BootNanoseconds begin, BootNanoseconds end) {
    least_.fill(rate_ * static_cast<double>(end - least_at_));
    most_.fill(rate_ * static_cast<double>(begin - most_at_));
    least_at_ = begin;
    most_at_ = end;
  }

  double rate_, burst_;
  double borrowed_before_ = 0;      // at the most, under limits of before: spent, given up, or still there
  double passed_since_change_ = 0;  // bytes
  Lack least_, most_;
  BootNanoseconds least_at_, most_at_;
  bool limited_ = true;
};

}  // namespace grantd::model
