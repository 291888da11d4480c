// A node of a test's own on which worlds are enforced by the agent's own compile, plan and apply, and frames are given
// to the programs by BPF_PROG_TEST_RUN.
#pragma once

#include "agent/ctl/explain/dry_run.h"
#include "maps/stamp_settings.h"
#include "tests/kernel/private_node.h"
#include "tests/model/model.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace grantd::model {

struct Judged {
  bool passes = false;
  Reason reason = GRANTD_REASON_FELL_THROUGH;  // from_uplink gives none
  std::uint32_t mark = 0;                      // afterwards
};

// So far from the moment at which a Grant ends or begins both sides stand on the same side of it.
inline constexpr std::chrono::milliseconds kOffEdge{1};

WallTime wall_at(BootNanoseconds boot);
// So much longer as GRANTD_TEST_PATIENCE says, for a machine that is emulated.
std::chrono::milliseconds with_patience(std::chrono::milliseconds time);

class WorldNode {
 public:
  WorldNode();
  // Throws where a Grant is refused.
  void apply(const DesiredState& desired);
  void restart();  // as an agent that starts again on the same pins
  WallTime applied_at() const { return node_->applied_at(); }
  void saw_revocation(const std::string& grant, WallTime when) { node_->saw_revocation(grant, when); }
  // As if it had given out all numbers of Realms and Grants up to this one.
  void count_numbers_to(std::uint32_t number);

  // Only a test writes into what BPF writes: the time of what is remembered is set back.
  void age(BootNanoseconds by);
  // As if the table had been full: the flow of this key is gone; endpoint_id 0: of any endpoint. False: there was none.
  bool forget(const grantd_flow_key& key);
  // A Grant that governs nobody may have no table.
  std::vector<grantd_counter> counters(std::uint32_t slot) const;

  // Nothing: BPF_PROG_TEST_RUN takes no such frame. The dry run says why, the program itself judges and remembers.
  std::optional<Judged> send(const Arrival& arrival, std::uint32_t mark);

  const PrivateNode& node() const { return *node_; }
  const DesiredState& desired() const { return node_->desired(); }
  Meaning meaning(const std::map<std::string, WallTime>& notice_ends) const {
    return Meaning(node_->desired(), node_->facts(), notice_ends);
  }
  const std::map<std::string, std::uint32_t>& slots() const { return slots_; }  // by Grant
  std::uint32_t ifindex(const std::string& interface) const { return interfaces_.at(interface); }
  const std::map<Who, std::uint32_t>& numbers() const { return identities_; }
  // Of Realms and Grants that have one, and of those that had: of these several may have the same name.
  std::size_t numbers_taken() const { return numbers_taken_; }
  // The mark's bits that say this; 0 for nobody.
  std::uint32_t stamp(const Who& who) const;
  Who named(std::uint32_t mark) const;
  std::uint32_t stamp_mask() const { return stamps_.mask; }
  // What leaves a guest bears it, also where its Grant has no number: the gate asks for it (decision 69).
  std::uint32_t stamp_tag() const { return stamps_.tag; }

 private:
  void look();

  std::unique_ptr<PrivateNode> node_;
  std::unique_ptr<DryRun> dry_run_;
  StampSettings stamps_;
  std::map<std::string, std::uint32_t> slots_, identities_, interfaces_;
  std::size_t numbers_taken_ = 0;
};

// "realm:NAME", "grant:NAME" or "" as Who, in a world whose Grants' names end so.
Who who_of(const std::string& symbol, const std::string& suffix);
std::string symbol_of(const Who& who, const std::string& suffix);

}  // namespace grantd::model
