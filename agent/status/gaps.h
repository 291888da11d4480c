// What of a plan keeps the kernel from being as it should be. What a plan does for names, for people to read, or
// takes away when nothing uses it, is none of that. Pure.
#pragma once

#include "agent/plan/plan.h"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace grantd {

enum class GapKind : std::uint8_t {
  ProgramMissing,
  TableMissing,
  PolicyDiffers,
  RecordDiffers,
  RealmsDiffer,
  UplinkDiffers,
  StillInForce,
  // No part of a plan.
  GuestsWait,
  GateMissing,
};
inline constexpr int kGapKinds = static_cast<int>(GapKind::GateMissing) + 1;

const char* gap_name(GapKind kind);  // "ProgramMissing": a condition's reason

struct Gap {
  GapKind kind;
  std::string text;
};

struct Gaps {
  std::map<std::string, std::vector<Gap>> by_subject;  // Step::subject
  std::map<std::uint32_t, std::vector<Gap>> by_slot;   // tables are made for many at once
  std::vector<Gap> of_node;                            // concern every Grant
};

Gaps gaps_of(const Plan& plan);

}  // namespace grantd
