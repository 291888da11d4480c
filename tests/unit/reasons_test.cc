// The list of reasons is an interface: labels are in metrics and dashboards, numbers in maps.
#include "maps/abi/counter.h"

#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace {

struct Reason {
  int number;
  std::string label;
  std::string sentence;
};

std::map<int, Reason> reasons() {
  std::map<int, Reason> all;
#define ADD(number, name, label, verdict, sentence) all[number] = {number, label, sentence};
  GRANTD_REASONS(ADD)
#undef ADD
  return all;
}

int lines_in_the_list() {
  int lines = 0;
#define COUNT(number, name, label, verdict, sentence) ++lines;
  GRANTD_REASONS(COUNT)
#undef COUNT
  return lines;
}

TEST(Reasons, NumbersAreUnique) { EXPECT_EQ(static_cast<int>(reasons().size()), lines_in_the_list()); }

TEST(Reasons, LabelsAreUniqueSnakeCaseAndSentencesEndInAFullStop) {
  std::set<std::string> labels;
  for (const auto& [number, reason] : reasons()) {
    EXPECT_TRUE(labels.insert(reason.label).second) << reason.label;
    EXPECT_EQ(reason.label.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_"), std::string::npos)
        << reason.label;
    EXPECT_EQ(reason.sentence.back(), '.') << reason.label;
  }
}

TEST(Reasons, EveryReasonHasACounterOfItsOwnInEachDirection) {
  std::set<int> indexes;
  for (const auto& [number, reason] : reasons())
    for (int direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      const int index = GRANTD_COUNTER_INDEX(direction, number);
      EXPECT_LT(index, GRANTD_COUNTERS);
      EXPECT_TRUE(indexes.insert(index).second);
    }
}

}  // namespace
