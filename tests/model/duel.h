// The kernel's programs and the reference model, given the same steps.
#pragma once

#include "tests/model/bucket.h"
#include "tests/model/found.h"

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <set>
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
  std::array<std::uint64_t, GRANTD_DIRECTIONS> refused_by_bucket{};
  // Packets that passed, and not again when time had ended their Grant; that were refused, and passed when it had
  // begun.
  std::uint64_t ended = 0, begun = 0;
  std::uint64_t undecided = 0;  // trials that were given up, as a packet came at the very moment
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
  WorldNode& node() { return *node_; }
  // A packet came at the very moment at which a Grant ends or begins: the sides cannot be compared any more.
  bool undecided() const { return undecided_; }
  // Of the step last played: what the model says of a packet, what the datapath says of it (nothing: no frame that a
  // test run takes), by how much things were aged, which flow was forgotten ("": none).
  const Opinion& opinion() const { return opinion_; }
  const std::optional<Judged>& judged() const { return judged_; }
  BootNanoseconds aged_by() const { return aged_by_; }
  const std::string& forgotten() const { return forgotten_; }
  // A fault of the model's that a test wants to see found.
  void plant(std::function<void(const Arrival&, Opinion&)> fault) { fault_ = std::move(fault); }

 private:
  struct Expected {
    std::uint64_t packets = 0, bytes = 0;
  };
  using CounterKey = std::tuple<std::uint32_t, unsigned, unsigned>;  // slot, direction, reason

  std::optional<Disagreement> apply(const World& world);
  std::optional<Disagreement> look();  // at what the agent has published
  void limit(const std::string& grant, unsigned direction, std::optional<std::uint64_t> bits_per_second,
             std::optional<std::uint64_t> burst_bytes);
  std::optional<Disagreement> send(const Step& step);
  std::optional<Disagreement> at_uplink(const Opinion& opinion, const Judged& judged, std::uint32_t mark);
  void age(BootNanoseconds by);
  void forget(std::size_t pick);
  std::optional<Disagreement> bring_near(const std::string& grant, Edge edge);
  void wait();
  void keep_off_edges() const;
  bool is_at_edge(BootNanoseconds begin, BootNanoseconds end) const;
  void note_edges(const Step& step, Reason reason);

  std::unique_ptr<WorldNode> node_;
  Model model_;
  World world_;
  std::uint64_t worlds_ = 0;
  std::map<std::pair<std::string, unsigned>, Bucket> buckets_;
  std::map<CounterKey, Expected> expected_;
  std::map<std::uint32_t, std::vector<grantd_counter>> counted_before_;  // by slot
  bool limited_ = false;                                                 // a Grant has had a bucket since begin()
  Counts counts_;
  Opinion opinion_;
  std::optional<Judged> judged_;
  std::string forgotten_;
  std::function<void(const Arrival&, Opinion&)> fault_;
  BootNanoseconds begun_ = 0;               // the last step
  BootNanoseconds aged_ = 0, aged_by_ = 0;  // since begin(), and by the last step
  // By key of a Grant that is revoked: what the node has to remember of it, whatever becomes of its manifest meanwhile.
  struct Notice {
    WallTime seen, ends = WallTime::max();
  };
  void keep_notices();
  std::map<std::string, WallTime> notice_ends() const;
  std::map<std::string, Notice> notices_;
  std::vector<WallTime> edges_;  // when Grants end or begin, of those that are about to
  using Frame = std::pair<std::string, Bytes>;
  std::set<Frame> passed_before_edge_, held_before_edge_;
  bool undecided_ = false;
};

}  // namespace grantd::model
