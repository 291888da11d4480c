// A row of the table in tests/prog/found_test.cc: manifests, steps, and what the datapath must say to each. A run of
// tests/model prints what it finds as such a row.
#pragma once

#include "tests/model/steps.h"
#include "tests/model/world_node.h"

#include <optional>
#include <string>
#include <vector>

namespace grantd::model {

struct Counted {
  std::uint64_t packets = 0, bytes = 0;
};

// What only some packets need.
struct FoundMore {
  std::optional<std::uint32_t> mark = {};  // instead of who it is from
  std::uint32_t gso_bytes = 0, gso_segments = 0;
  std::optional<std::string> stamp = {};  // who the mark must say afterwards
  std::optional<Counted> counted = {};    // what the counter of its reason must grow by
  std::string neighbour = {};             // the interface of the guest on the same bridge that sends it
};

struct FoundStep {
  // `bytes` in hexadecimal.
  FoundStep(Program program, std::string interface, bool from_outside, std::string who, const std::string& bytes,
            Reason must_be, const FoundMore& more = {});
  explicit(false) FoundStep(std::string text) : manifests(std::move(text)) { step.kind = Step::Kind::Change; }
  explicit FoundStep(const Step& other) : step(other) {}

  Step step;
  Reason reason = GRANTD_REASON_FELL_THROUGH;
  std::optional<std::string> stamp;
  std::optional<Counted> counted;
  std::string manifests;  // of a Change
  std::string flow;       // of a Forget
};

// Steps without a packet.
FoundStep aged(std::uint64_t by_ns);
FoundStep forgotten(const std::string& flow);  // as name_of_flow() has it
FoundStep restarted();
FoundStep near_end(const std::string& grant);
FoundStep near_begin(const std::string& grant);
FoundStep near_end_of_notice(const std::string& grant);
FoundStep waited();

std::string name_of_flow(grantd_flow_key key);

struct FoundCase {
  std::string name, manifests;
  std::vector<FoundStep> steps;
  std::string note = {};  // what the last step shows
};

// What this step gives to a program, and with which mark; of Grants whose names end in `suffix`.
Arrival arrival_of(const Step& step, const WorldNode& node, const std::string& suffix);
std::uint32_t mark_of(const Step& step, const Arrival& arrival, const WorldNode& node);

std::string text_of(const FoundCase& found);
// At which step the datapath first says something else, and what. Grants' names end in `suffix`; those of new names
// have no memory.
std::optional<std::string> first_failure(WorldNode& node, const FoundCase& found, const std::string& suffix);

}  // namespace grantd::model
