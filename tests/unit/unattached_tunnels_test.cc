// What comes out of a tunnel without our program would bear the stamp of what it was inside of: then none is given.
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cerrno>
#include <optional>

namespace grantd {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

class UnattachedTunnels : public PlanTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(converge(with_grant()).complete());
    ASSERT_EQ(class_of(2), GRANTD_UPLINK_LAN) << "the control";
  }
  std::optional<std::uint8_t> class_of(std::uint32_t ifindex) {
    const auto found = kernel_.state().uplinks.find(ifindex);
    return found == kernel_.state().uplinks.end() ? std::nullopt : std::optional(found->second.uplink_class);
  }
  void add_interface(const std::string& name, bool tunnel) {
    InterfaceFact fact = desired::interface(name, 30);
    fact.tunnel = tunnel;
    node_.interfaces.push_back(fact);
    kernel_.fail_where([](const Operation& operation) {
      const auto* attach = std::get_if<operation::Attach>(&operation);
      return attach && attach->attachment.ifindex == 30;
    });
  }
  bool is_attached() { return kernel_.state().attachments.contains({Hook::FromUplink, 30, 0}); }
};

TEST_F(UnattachedTunnels, NobodyIsBelievedUntilItsProgramStands) {
  add_interface("vx0", true);
  for (int turn = 0; turn < 3; turn++) {
    const ApplyReport report = converge(with_grant());
    EXPECT_TRUE(report.nobody_believed);
    EXPECT_FALSE(report.complete());
    EXPECT_FALSE(is_attached()) << "the control";
    EXPECT_NE(class_of(2), GRANTD_UPLINK_LAN) << turn;
    pass(std::chrono::seconds(1));
  }
  kernel_.fail_where({});
  const ApplyReport report = converge(with_grant());
  EXPECT_TRUE(report.complete());
  EXPECT_FALSE(report.nobody_believed);
  EXPECT_TRUE(is_attached());
  EXPECT_EQ(class_of(2), GRANTD_UPLINK_LAN);
  EXPECT_EQ(class_of(30), GRANTD_UPLINK_UNTRUSTED);
  EXPECT_THAT(names(next(with_grant())), IsEmpty());
  EXPECT_THAT(kernel_.violations(), IsEmpty());
}

// Its programs close it, and one for uplinks would take the place of one of them, at each look again.
TEST_F(UnattachedTunnels, WhatWasAGuestsIsNoUplink) {
  InterfaceFact& guests = *std::ranges::find(node_.interfaces, 10U, &InterfaceFact::ifindex);
  guests.tunnel = guests.layer3 = true;
  ASSERT_TRUE(converge(with_grant()).complete());
  DesiredState without = with_grant();
  without.workloads.clear();
  // As an agent of before left it.
  ASSERT_TRUE(kernel_.perform(operation::Attach{{Hook::FromUplink, 10, 0}}).ok());
  kernel_.get_before({Hook::FromUplink, 10, 0});
  ASSERT_TRUE(applier_.refresh(facts_.now).ok());
  for (int turn = 0; turn < 3; turn++) ASSERT_TRUE(converge(without).complete());
  EXPECT_TRUE(kernel_.state().attachments.contains({Hook::FromGuest, 10, 0}));
  EXPECT_FALSE(kernel_.state().attachments.contains({Hook::FromUplink, 10, 0}));
  EXPECT_FALSE(kernel_.state().behind.contains({Hook::FromUplink, 10, 0}));
  EXPECT_FALSE(class_of(10));
  EXPECT_THAT(names(next(without)), IsEmpty());
}

// Its attach is left out then.
TEST_F(UnattachedTunnels, AlsoWhereAnotherStepForItFailed) {
  add_interface("eth-vx0", true);
  kernel_.fail_where({});
  ASSERT_TRUE(converge(with_grant()).complete());
  ASSERT_TRUE(is_attached());
  kernel_.lose_attachments(30);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  node_.uplink_rules.insert(node_.uplink_rules.begin(), {"eth-vx0", UplinkClass::Tailnet});
  kernel_.fail("put_uplink");
  const ApplyReport report = converge(with_grant());
  EXPECT_FALSE(is_attached()) << "the control";
  EXPECT_TRUE(report.nobody_believed);
  EXPECT_NE(class_of(2), GRANTD_UPLINK_LAN);
}

TEST_F(UnattachedTunnels, AnotherKindOfUplinkTakesNobodysBelief) {
  add_interface("eth1", false);
  const ApplyReport report = converge(with_grant());
  EXPECT_THAT(report.failed, SizeIs(1)) << "the control";
  EXPECT_FALSE(report.nobody_believed);
  EXPECT_EQ(class_of(2), GRANTD_UPLINK_LAN);
}

TEST_F(UnattachedTunnels, OneThatIsGoneTakesNobodysBelief) {
  add_interface("vx0", true);
  kernel_.error_number = ENODEV;
  const ApplyReport report = converge(with_grant());
  EXPECT_THAT(report.failed, SizeIs(1)) << "the control";
  EXPECT_FALSE(report.nobody_believed);
  EXPECT_EQ(class_of(2), GRANTD_UPLINK_LAN);
}

}  // namespace
}  // namespace grantd
