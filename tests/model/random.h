// Chance that a seed repeats exactly, on every machine.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <vector>

namespace grantd::model {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  // SplitMix64.
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  std::size_t below(std::size_t bound) { return static_cast<std::size_t>(next() % bound); }
  bool percent(unsigned chance) { return below(100) < chance; }
  std::uint8_t byte() { return static_cast<std::uint8_t>(next()); }
  std::uint16_t word() { return static_cast<std::uint16_t>(next()); }
  template <typename T>
  const T& of(const std::vector<T>& all) {
    return all[below(all.size())];
  }
  template <typename T>
  T& of(std::vector<T>& all) {
    return all[below(all.size())];
  }
  template <typename T, std::size_t N>
  const T& of(const T (&all)[N]) {
    return all[below(N)];
  }

  template <typename T>
  T of(std::initializer_list<T> all) {
    return all.begin()[below(all.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace grantd::model
