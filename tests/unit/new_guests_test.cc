// Many guests that come at once, while somebody edits.
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

class NewGuestsTest : public PlanTest {
 protected:
  DesiredState with_guests(const std::vector<std::string>& destinations) {
    DesiredState desired = with_grant(destinations);
    desired.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
    desired.workloads.push_back(desired::workload("cache", "g", "veth-c", {"10.20.0.4"}));
    return desired;
  }
  // In the order of their names.
  static constexpr Attachment kFirst{Hook::FromGuest, 12, 0}, kSecond{Hook::FromGuest, 11, 0};
  const DesiredState wide = with_guests({"198.51.100.0/24"}), narrow = with_guests({"198.51.100.0/25"});
};

TEST_F(NewGuestsTest, AnEditIsInForceBeforeTheyAreAttached) {
  ASSERT_TRUE(converge(with_grant({"198.51.100.0/24"})).complete());
  const std::uint64_t before = published();
  const ApplyReport report = applier_.apply(next(narrow), facts_.now, [] { return true; });
  EXPECT_THAT(report.postponed, UnorderedElementsAre(guest_subject("cache"), guest_subject("db")));
  EXPECT_FALSE(report.complete());
  EXPECT_THAT(report.failed, IsEmpty());
  EXPECT_THAT(report.closed, IsEmpty());
  EXPECT_NE(published(), before) << "the edit";
  EXPECT_THAT(kernel_.state().attachments, Not(Contains(kFirst)));
  EXPECT_THAT(kernel_.state().attachments, Not(Contains(kSecond)));
  EXPECT_EQ(kernel_.state().endpoints.size(), 1U) << "who is not attached has no record";
  EXPECT_TRUE(converge(narrow).complete());
  EXPECT_THAT(kernel_.state().attachments, Contains(kFirst));
  EXPECT_THAT(names(next(narrow)), IsEmpty());
  EXPECT_THAT(kernel_.violations(), IsEmpty());
}

TEST_F(NewGuestsTest, TheyWaitForAnEditAndForNothingElse) {
  const auto changes = [&](const DesiredState& desired) {
    return changes_what_is_in_force(next(desired), applier_.state());
  };
  EXPECT_FALSE(changes(wide)) << "nothing is in force yet";
  ASSERT_TRUE(converge(with_grant({"198.51.100.0/24"})).complete());
  EXPECT_FALSE(changes(wide)) << "they only come";
  EXPECT_TRUE(changes(narrow));
  DesiredState gone = wide;
  gone.grants.clear();
  EXPECT_TRUE(changes(gone));
}

TEST_F(NewGuestsTest, WhoCameFirstIsWholeAndTheOthersStayDue) {
  ASSERT_TRUE(converge(with_grant({"198.51.100.0/24"})).complete());
  int asked = 0;
  const ApplyReport report = applier_.apply(next(wide), facts_.now, [&] { return asked++ > 0; });
  EXPECT_THAT(report.postponed, UnorderedElementsAre(guest_subject("db")));
  EXPECT_THAT(kernel_.state().attachments, Contains(kFirst));
  EXPECT_THAT(kernel_.state().attachments, Not(Contains(kSecond)));
  EXPECT_EQ(kernel_.state().endpoints.size(), 2U);
  EXPECT_TRUE(converge(wide).complete());
  EXPECT_THAT(kernel_.state().attachments, Contains(kSecond));
  EXPECT_THAT(kernel_.violations(), IsEmpty());
}

TEST_F(NewGuestsTest, OneThatLostOneOfItsTwoProgramsWaitsForNobody) {
  ASSERT_TRUE(converge(wide).complete());
  const Attachment lost{Hook::ToGuest, 11, 0};
  kernel_.get_before(lost);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  ASSERT_THAT(applier_.state().attachments, Not(Contains(lost))) << "the control";
  EXPECT_TRUE(applier_.apply(next(wide), facts_.now, [] { return true; }).complete());
  EXPECT_THAT(kernel_.state().attachments, Contains(lost));
}

// A pod with several, or Workloads of one name that are refused: without its programs each is open by itself.
TEST_F(NewGuestsTest, OneInterfaceThatFailsLeavesTheGuestsOtherOneClosed) {
  DesiredState desired = with_grant();
  desired.workloads = {desired::workload("web", "g", "veth-a", {"10.20.0.2"}),
                       desired::workload("web", "g", "veth-b", {"10.20.0.3"})};
  const auto is_first = [](const Operation& each) {
    const auto* attach = std::get_if<operation::Attach>(&each);
    return attach && attach->attachment.ifindex == 10;
  };
  kernel_.fail_where(is_first);
  EXPECT_FALSE(converge(desired).complete());
  for (const Hook hook : kGuestHooks) {
    EXPECT_THAT(kernel_.state().attachments, Contains(Attachment{hook, 11, 0}));
    EXPECT_THAT(kernel_.state().attachments, Not(Contains(Attachment{hook, 10, 0})));
  }
  EXPECT_THAT(kernel_.violations(), IsEmpty());
  kernel_.fail_where({});
  EXPECT_TRUE(converge(desired).complete());
}

}  // namespace
}  // namespace grantd
