// Trials made from a seed, played on both sides; a disagreement made small.
#pragma once

#include "tests/model/duel.h"

namespace grantd::model {

struct Trial {
  World world;
  std::vector<Step> steps;
};

// One world and this many packets of all kinds; or a sequence of packets, changes, ages, restarts that belong together.
Trial packets_trial(std::uint64_t seed, std::size_t packets);
Trial sequence_trial(std::uint64_t seed);

// Plays a trial from the beginning. What the sides do not agree on, and at which step.
struct Found {
  Disagreement disagreement;
  std::size_t step = 0;  // steps.size(): when the counters were compared
};
std::optional<Found> play(Duel& duel, const Trial& trial);

// The same disagreement with as little as can be.
Trial shrink(Duel& duel, Trial trial, const Disagreement& disagreement);

// A row for the table in tests/prog/found_test.cc: as far as the sides agree, and the step where they do not.
FoundCase found_case(Duel& duel, const Trial& trial, const std::string& name);
std::string row(Duel& duel, const Trial& trial, const std::string& name);

}  // namespace grantd::model
