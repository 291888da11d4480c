// The kernel's programs and the reference model, given the same steps.
#pragma once

#include "tests/model/bucket.h"
#include "tests/model/steps.h"
#include "tests/model/world_node.h"

#include <array>
#include <memory>
#include <optional>
#include <string>

namespace grantd::model {

struct Disagreement {
  std::string what;  // for people
  Reason model = GRANTD_REASON_FELL_THROUGH, kernel = GRANTD_REASON_FELL_THROUGH;
};

struct Counts {
  std::uint64_t packets = 0;              // judged by both
  std::uint64_t passed = 0;               // of these
  std::uint64_t refused_by_test_run = 0;  // frames that BPF_PROG_TEST_RUN does not take
  std::array<std::uint64_t, GRANTD_REASON_LIMIT> by_reason{};
};

class Duel {
 public:
  Duel();
  // A world without a memory. Grants that have buckets get new names, and so buckets that are full.
  void begin(const World& world);
  std::optional<Disagreement> play(const Step& step);
  // What the programs have counted since begin() against what the model says they must have.
  std::optional<Disagreement> settle();
  // All that either side remembers of packets; what is counted stays.
  void forget_everything();
  const Counts& counts() const { return counts_; }
  const World& world() const { return world_; }
  const Model& model() const { return model_; }
  std::string suffix() const;
  // Of the packet last played; the sides agreed.
  Reason last_reason() const { return last_reason_; }

 private:
  struct Expected {
    std::uint64_t packets = 0, bytes = 0;
  };
  using CounterKey = std::tuple<std::uint32_t, unsigned, unsigned>;  // slot, direction, reason

  void apply(const World& world);
  void look();  // at what the agent has published
  std::optional<Disagreement> send(const Step& step);
  std::optional<Disagreement> at_uplink(const Opinion& opinion, const Judged& judged, std::uint32_t mark);
  void age(BootNanoseconds by);
  void forget(std::size_t pick);
  std::vector<grantd_counter> counted(std::uint32_t slot) const;
  std::unique_ptr<WorldNode> node_;
  Model model_;
  World world_;
  std::uint64_t worlds_ = 0;
  std::map<std::pair<std::string, unsigned>, Bucket> buckets_;
  std::map<CounterKey, Expected> expected_;
  std::map<std::uint32_t, std::vector<grantd_counter>> counted_before_;  // by slot
  bool limited_ = false;                                                 // a Grant of this world has a bucket
  Counts counts_;
  Reason last_reason_ = GRANTD_REASON_FELL_THROUGH;
  BootNanoseconds aged_ = 0;  // since begin()
};

}  // namespace grantd::model
