// Interfaces that were guests', and that no Workload names any more.
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::IsEmpty;

class AbandonedInterfaces : public PlanTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(converge(with_grant()).complete());
    ASSERT_TRUE(converge(without()).complete());
    ASSERT_TRUE(kernel_.state().endpoints.contains(10)) << "the control";
  }
  DesiredState without() {
    DesiredState desired = with_grant();
    desired.workloads.clear();
    return desired;
  }
  bool closed() {
    return kernel_.state().attachments.contains({Hook::FromGuest, 10, 0}) &&
           kernel_.state().attachments.contains({Hook::ToGuest, 10, 0});
  }
};

TEST_F(AbandonedInterfaces, OneWhoseRecordIsLostKeepsItsFirstPlace) {
  ASSERT_TRUE(kernel_.perform(operation::RemoveEndpoint{10}).ok());
  kernel_.get_before({Hook::FromGuest, 10, 0});
  ASSERT_TRUE(applier_.refresh(facts_.now).ok());
  EXPECT_THAT(names(next(without())), testing::Contains("attach"));
  ASSERT_TRUE(converge(without()).complete());
  EXPECT_TRUE(closed());
  EXPECT_THAT(names(next(without())), IsEmpty());
}

TEST_F(AbandonedInterfaces, OneWhoseRecordIsLostKeepsBothPrograms) {
  ASSERT_TRUE(kernel_.perform(operation::RemoveEndpoint{10}).ok());
  kernel_.lose_attachment({Hook::ToGuest, 10, 0});
  ASSERT_TRUE(applier_.refresh(facts_.now).ok());
  ASSERT_TRUE(converge(without()).complete());
  EXPECT_TRUE(closed());
}

// The kernel has told that the interface ended, so what has its index is no guest's.
TEST_F(AbandonedInterfaces, AnotherOneUnderItsIndexIsLeftAlone) {
  kernel_.lose_interface(10);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  facts_.gone = {10};
  EXPECT_THAT(names(next(without())), testing::Not(testing::Contains("attach")));
  ASSERT_TRUE(converge(without()).complete());
  EXPECT_FALSE(kernel_.state().endpoints.contains(10));
  EXPECT_FALSE(closed());
  facts_.gone.clear();
  ASSERT_TRUE(converge(without()).complete());
  EXPECT_FALSE(closed());
}

TEST_F(AbandonedInterfaces, AGuestsUnderItsIndexIsHeld) {
  kernel_.lose_interface(10);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  facts_.gone = {10};
  ASSERT_TRUE(converge(with_grant()).complete());
  EXPECT_TRUE(closed());
  EXPECT_TRUE(kernel_.state().endpoints.contains(10));
}

// A link that was followed from another index and back: what the kernel told was older.
TEST_F(AbandonedInterfaces, OneOnWhichOurProgramsStandStaysClosed) {
  facts_.gone = {10};
  EXPECT_THAT(names(next(without())), IsEmpty());
  EXPECT_TRUE(closed());
}

}  // namespace
}  // namespace grantd
