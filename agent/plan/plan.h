// What the kernel has and what it should have in; an ordered list of operations out. Pure.
//
// The order leaves no instant in which somebody is open: close what narrows, fill what nobody reads
// yet, publish, open what widens, and take away what nothing has used for a second.
#pragma once

#include "agent/plan/operations.h"

#include <set>
#include <string>
#include <vector>

namespace grantd {

struct PlanFacts {
  BootNanoseconds now = 0;
  unsigned cpus = 1;
  std::set<std::uint32_t> interfaces;  // that exist, by index
  std::set<std::uint32_t> gone;  // indices whose interface has ended since the last plan; another may have one now
  std::uint32_t slots = GRANTD_SLOTS;  // that the maps have, slot 0 included
  std::string node, version, manifests;
  std::uint32_t stamp_mask = GRANTD_STAMP_MASK_DEFAULT;
  std::uint32_t pid = 0;
  std::uint64_t boot_to_wall_ns = 0;
  bool clock_trusted = true;
  grantd_shaper_mode shaper = GRANTD_SHAPER_POLICER;
  std::string shaper_why;
  std::uint32_t shaper_secret = 0;  // where there is none yet
};

// Whether less is open with a publication than before it, or with a program.
enum class Narrows { No, WhereItsRulesDo, Yes };

// What else must be done before a step. Losses: what realms lose is nobody's. Doubt: and no slot is open that was to
// be closed, whose flows may know an owner that has lost something.
enum class After { Nothing, Losses, Doubt };

struct Step {
  Operation operation;
  // What the step is for ("Grant ns/name"). Where a step fails, later ones for the same subject are
  // left out and stay due.
  std::string subject;
  bool afterwards = false;  // nothing that is enforced waits for it
  // A publication that narrows and is not done, whatever the cause, closes its slot: that takes no memory and no
  // number. A program that narrows is a tunnel's: where it is not attached, no uplink believes anybody.
  Narrows narrows = Narrows::No;
  After after = After::Nothing;  // whatever its subject
};

struct Plan {
  std::vector<Step> steps;
  std::vector<Problem> problems;     // what found no room
  BootNanoseconds next_due = ~0ULL;  // when to plan again, though nothing else changed
};

inline constexpr const char* kNodeSubject = "node";  // everything waits for it
inline constexpr const char* kLossesSubject = "lost addresses";
inline constexpr const char* kIdentitiesSubject = "identities";  // addresses that are gained, and whose they are
std::string grant_subject(const std::string& key);
std::string guest_subject(const std::string& guest);
std::string interface_subject(std::uint32_t ifindex);
// Of the Grant that has the slot; where its name is lost, of the slot.
std::string slot_subject(const KernelState& kernel, std::uint32_t slot);
Step closing(std::uint32_t slot, std::string subject);
inline constexpr BootNanoseconds kRetireAfter = GRANTD_NS_PER_SECOND;
// For which a number that was in stamps is given to nobody else. The kernel holds a fragment for 60 s (IPv6), and a
// packet for a neighbour that does not answer for a few.
inline constexpr BootNanoseconds kNumberRests = 120 * GRANTD_NS_PER_SECOND;

// Publishes another policy where one is in force, or closes it.
bool changes_what_is_in_force(const Plan& plan, const KernelState& kernel);

Plan plan(const KernelState& kernel, const CompiledPolicy& wanted, const PlanFacts& facts);

}  // namespace grantd
