#include "crd-sync/predecessors.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

class PredecessorsTest : public testing::Test {
 protected:
  // As a source hands it over, which says of each uid once that it is another's.
  std::vector<Grant> handed_over(const std::string& uid, bool made_anew = false) {
    std::vector<Grant> grants(1);
    grants[0].namespace_name = "keystone-system";
    grants[0].name = "g";
    grants[0].head.uid = uid;
    grants[0].made_anew = made_anew;
    predecessors_.tell(grants);
    return grants;
  }
  void carry_out(std::vector<Grant> grants, bool refused = false, const std::string& due = "") {
    predecessors_.carried_out(
        grants, [&](const std::string& key) { return refused && key == "keystone-system/g"; },
        [&](const std::string& key) { return key == due; });
    after_ = grants.empty() ? false : grants[0].made_anew;
  }

  Predecessors predecessors_;
  bool after_ = false;
};

TEST_F(PredecessorsTest, WhatIsNotCarriedOutIsToldAgain) {
  carry_out(handed_over("one"));
  EXPECT_FALSE(handed_over("one")[0].made_anew) << "the control";
  EXPECT_TRUE(handed_over("two", true)[0].made_anew);
  EXPECT_TRUE(handed_over("two")[0].made_anew);
  EXPECT_FALSE(handed_over("one")[0].made_anew) << "it is what is in force";
}

// What is in force is of before the agent's start.
TEST_F(PredecessorsTest, WhatIsNotCarriedOutIsToldAgainAlsoOfTheFirst) {
  EXPECT_TRUE(handed_over("two", true)[0].made_anew);
  EXPECT_TRUE(handed_over("two")[0].made_anew);
  EXPECT_TRUE(handed_over("three")[0].made_anew);
}

TEST_F(PredecessorsTest, WhatIsInForceIsItsOwnOnceItIsCarriedOut) {
  carry_out(handed_over("two", true));
  EXPECT_FALSE(after_);
  EXPECT_FALSE(handed_over("two")[0].made_anew);
  EXPECT_FALSE(handed_over("two", true)[0].made_anew) << "as a source that was not asked anew says it still";
}

TEST_F(PredecessorsTest, ARefusedOneHasNeverBeenInForce) {
  carry_out(handed_over("two", true), true);
  EXPECT_TRUE(after_);
  EXPECT_TRUE(handed_over("two")[0].made_anew);
  carry_out(handed_over("two"));
  EXPECT_FALSE(after_);
  carry_out(handed_over("two"), true);
  EXPECT_FALSE(after_) << "what is in force is its own";
}

TEST_F(PredecessorsTest, WhatIsDueStillIsNotCarriedOut) {
  carry_out(handed_over("one"));
  carry_out(handed_over("two", true), false, "keystone-system/g");
  EXPECT_TRUE(after_);
  EXPECT_TRUE(handed_over("two")[0].made_anew);
  carry_out({}, false, "keystone-system/g");
  EXPECT_TRUE(handed_over("two")[0].made_anew) << "nor that it was deleted";
  carry_out(handed_over("two"), false, "keystone-system/another");
  EXPECT_FALSE(handed_over("two")[0].made_anew);
}

// The snapshots between show it never.
TEST_F(PredecessorsTest, OneThatWasDeletedAndMadeAgainBeforeItIsCarriedOutIsAnother) {
  carry_out(handed_over("one"));
  std::vector<Grant> none;
  predecessors_.tell(none);
  EXPECT_TRUE(handed_over("two")[0].made_anew);
  carry_out(none);
  EXPECT_FALSE(handed_over("two")[0].made_anew) << "nothing of it is in force";
}

}  // namespace
}  // namespace grantd
