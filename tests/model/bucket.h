// A token bucket as it must be, seen through a clock that is read before and after: the most and the least that may be
// in it.
#pragma once

#include "agent/compile/compiled_policy.h"

#include <algorithm>

namespace grantd::model {

class Bucket {
 public:
  Bucket(double bits_per_second, double burst_bytes, BootNanoseconds now)
      : bytes_per_ns_(bits_per_second / 8 / 1e9),
        burst_(burst_bytes),
        most_(burst_bytes),
        least_(burst_bytes),
        most_at_(now),
        least_at_(now) {}

  // Bytes that passed, or were refused, between two moments. False: this bucket could not have said so.
  bool passed(double bytes, BootNanoseconds begin, BootNanoseconds end) {
    fill(begin, end);
    const bool could = most_ + 1 >= bytes;
    most_ -= bytes;
    least_ = std::max(0.0, least_ - bytes);
    return could;
  }
  bool refused(double bytes, BootNanoseconds begin, BootNanoseconds end) {
    fill(begin, end);
    return least_ - kBorrowed < bytes;
  }

 private:
  // What a CPU takes at a time, and what it may leave unused (decision 0005).
  static constexpr double kBorrowed = 65536;

  void fill(BootNanoseconds begin, BootNanoseconds end) {
    most_ = std::min(burst_, most_ + bytes_per_ns_ * static_cast<double>(end - most_at_));
    least_ = std::min(burst_, least_ + bytes_per_ns_ * static_cast<double>(begin - least_at_));
    most_at_ = begin;
    least_at_ = end;
  }

  double bytes_per_ns_, burst_, most_, least_;
  BootNanoseconds most_at_, least_at_;
};

}  // namespace grantd::model
