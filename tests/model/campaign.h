// Many trials, in several processes: applying a world mostly waits for the kernel.
#pragma once

#include "tests/model/run.h"

#include <cstdint>

namespace grantd::model {

inline constexpr std::uint64_t kPacketsPerWorld = 2000;

struct Campaign {
  std::uint64_t seed = 1;
  std::uint64_t first_world = 0, worlds = 0;  // of kPacketsPerWorld packets each
  std::uint64_t first_sequence = 0, sequences = 0;
  unsigned jobs = 4;
};

struct Totals {
  std::uint64_t worlds = 0, sequences = 0, steps = 0, disagreements = 0, crashed = 0;
  Counts counts;
};

// Disagreements are printed as they are found, made small, with what repeats them.
Totals run_campaign(const Campaign& campaign);

}  // namespace grantd::model
