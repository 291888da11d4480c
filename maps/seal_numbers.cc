#include "maps/seal_numbers.h"

namespace grantd {

// splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014).
SealNumbers seal_numbers(std::uint64_t secret) {
  SealNumbers numbers{};
  for (std::uint64_t& each : numbers) {
    secret += 0x9e3779b97f4a7c15ULL;
    std::uint64_t mixed = secret;
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
    each = (mixed ^ (mixed >> 31U)) | 1U;
  }
  return numbers;
}

}  // namespace grantd
