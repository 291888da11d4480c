// How the answer of `grantctl explain` reads. Pure.
#pragma once

#include "agent/ctl/view/page.h"
#include "agent/snapshot/snapshot.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd {

// What one program said.
struct ExplainedStep {
  std::string hook;   // "from_guest", "to_guest", "from_uplink"
  std::string where;  // the guest's name, or the uplink's
  grantd_explanation found{};
  std::optional<grantd_source> source;  // the entry that found.source stands for, or the field that ends the Grant
};

// One packet on one way.
struct ExplainedPacket {
  std::string source, destination;  // as a person would write them
  std::string way;                  // "by tailnet (tail0)"; "" from a guest
  std::vector<ExplainedStep> steps;
};

bool step_passes(const ExplainedStep& step);
bool packet_passes(const ExplainedPacket& packet);

// "FILE:LINE: TEXT", a default of the design by its name, or why nothing opened it.
std::string decided_by(const Snapshot& snapshot, const ExplainedStep& step);

std::string show_explanation(const Snapshot& snapshot, const std::vector<ExplainedPacket>& packets, const Style& style);

}  // namespace grantd
