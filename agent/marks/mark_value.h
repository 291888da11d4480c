// What a register of nftables holds, as far as the packet's mark is concerned, bit by bit. Pure.
#pragma once

#include <cstdint>

namespace grantd {

// Bits that are neither kept nor known may be anything.
struct MarkValue {
  std::uint32_t kept = 0;     // equal to the same bit of the packet's mark
  std::uint32_t known = 0;    // constants
  std::uint32_t value = 0;    // of the known bits
  std::uint32_t depends = 0;  // bits of the packet's mark that this depends on
  bool in_place = true;       // they stand where they stood in the mark
  auto operator<=>(const MarkValue&) const = default;

  std::uint32_t zeros() const { return known & ~value; }
  std::uint32_t ones() const { return known & value; }
};

constexpr MarkValue whole_mark() { return {~0U, 0, 0, ~0U, true}; }
constexpr MarkValue constant(std::uint32_t value) { return {0, ~0U, value, 0, true}; }
constexpr MarkValue anything(std::uint32_t depends = 0) { return {0, 0, 0, depends, false}; }

inline MarkValue of_both(const MarkValue& a, const MarkValue& b, std::uint32_t kept, std::uint32_t zeros,
                         std::uint32_t ones) {
  const bool in_place = a.in_place && b.in_place;
  // A bit that has become a constant depends on nothing, where it still is that bit.
  const std::uint32_t depends = (a.depends | b.depends) & (in_place ? ~(zeros | ones) : ~0U);
  return {kept, zeros | ones, ones, depends, in_place};
}
inline MarkValue bits_and(const MarkValue& a, const MarkValue& b) {
  return of_both(a, b, (a.kept & b.ones()) | (b.kept & a.ones()) | (a.kept & b.kept), a.zeros() | b.zeros(),
                 a.ones() & b.ones());
}
inline MarkValue bits_or(const MarkValue& a, const MarkValue& b) {
  return of_both(a, b, (a.kept & b.zeros()) | (b.kept & a.zeros()) | (a.kept & b.kept), a.zeros() & b.zeros(),
                 a.ones() | b.ones());
}
inline MarkValue bits_xor(const MarkValue& a, const MarkValue& b) {
  return of_both(a, b, (a.kept & b.zeros()) | (b.kept & a.zeros()), (a.zeros() & b.zeros()) | (a.ones() & b.ones()),
                 (a.zeros() & b.ones()) | (a.ones() & b.zeros()));
}

}  // namespace grantd
