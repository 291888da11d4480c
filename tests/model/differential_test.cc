// The datapath and the reference model agree: on the verdict, the reason, the mark and what is counted.
#include "tests/model/campaign.h"

#include "agent/snapshot/snapshot.h"
#include "tests/model/run.h"

#include <gtest/gtest.h>

namespace grantd::model {
namespace {

// Chosen anew at each run would be a test that fails for somebody else; scripts/prove goes on from here.
constexpr std::uint64_t kSeed = 20;

void expect_agreement(const Totals& totals) {
  EXPECT_EQ(totals.disagreements, 0U);
  EXPECT_EQ(totals.crashed, 0U);
}

TEST(Differential, Packets) {
  Campaign campaign;
  campaign.seed = kSeed;
  campaign.worlds = 60;
  const Totals totals = run_campaign(campaign);
  expect_agreement(totals);
  EXPECT_GE(totals.counts.packets, 100'000U);
}

TEST(Differential, Sequences) {
  Campaign campaign;
  campaign.seed = kSeed;
  campaign.sequences = 1000;
  const Totals totals = run_campaign(campaign);
  expect_agreement(totals);
  EXPECT_EQ(totals.sequences, 1000U);
  EXPECT_GT(totals.counts.refused_by_bucket[GRANTD_EGRESS], 0U);
  EXPECT_GT(totals.counts.refused_by_bucket[GRANTD_INGRESS], 0U);
  EXPECT_GT(totals.counts.ended, 0U) << "no flow was live when time ended its Grant";
  EXPECT_GT(totals.counts.begun, 0U) << "no Grant began by time alone";
  EXPECT_LT(totals.counts.undecided, totals.sequences / 20);
  // A comparison that never gets far compares little: every reason that packets alone can have must have been met.
  for (unsigned reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
    const std::string label = reason_label(reason);
    const bool is_met_by_packets = !label.empty() && label != "fell_through" && label != "policy_missing" &&
                                   label != "table_missing" && label != "flow_table_full" &&
                                   label != "fragment_table_full" && label != "party_port";
    if (is_met_by_packets) {
      EXPECT_GT(totals.counts.by_reason[reason], 0U) << label;
    }
  }
}

// The last number is given out on the way: from there on numbers come again (decision 68).
TEST(Differential, SequencesPastTheLastNumber) {
  Duel duel;
  duel.node().count_numbers_to(GRANTD_MAX_IDENTITIES - 30);
  const auto last_is_given = [&] {
    for (const auto& [who, number] : duel.node().numbers())
      if (number == GRANTD_MAX_IDENTITIES) return true;
    return false;
  };
  bool given = false;
  for (std::uint64_t number = 0; number < 60; number++) {
    const auto found = play(duel, sequence_trial(Random(kSeed).next() + number));
    EXPECT_FALSE(found) << "sequence " << number << ", step " << found->step << ": " << found->disagreement.what;
    given = given || last_is_given();
  }
  EXPECT_TRUE(given);
}

}  // namespace
}  // namespace grantd::model
