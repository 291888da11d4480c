// A Grant of the cluster whose guests have left this node: a guest can leave and come back by itself (decision 67).
#include "maps/fixed_text.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;

class WithoutGuests : public PlanTest {
 protected:
  void SetUp() override {
    desired_ = desired::world();
    desired_.cluster = true;
    desired_.grants = {desired::grant("g", {"198.51.100.0/24:443/TCP", "realm:carol"}), desired::grant("h", {})};
    desired_.grants[0].egress_bps = 8'000'000;
    set_label("g");
    node_.pod_interfaces["uid-1"] = {{10, {desired::address("10.42.0.7")}, ""}};
    ASSERT_TRUE(converge_all().complete());
    before_ = *policy("g");
  }
  // The guest's only pod, by a label that the guest may write.
  void set_label(const std::string& grant) {
    Workload pod;
    pod.name = "guest-bob/web";
    pod.addresses = {desired::address("10.42.0.7")};
    pod.pod.emplace();
    pod.pod->uid = pod.pod->node_uid = "uid-1";
    pod.pod->realm = "bob";
    pod.pod->own_grant = grant;
    desired_.workloads = {pod};
  }
  void leave() {
    set_label("nothing");
    ASSERT_TRUE(converge_all().complete());
  }
  void come_back() {
    set_label("g");
    ASSERT_TRUE(converge_all().complete());
  }
  void compile_now() {
    facts_.interfaces = {2, 10, 11, 12};
    facts_.cpus = 2;
    kernel_.now = facts_.now = time_.boot_now;
    node_.in_force = in_force(applier_->state());
    compiled_ = compile(desired_, node_, time_, limits_);
  }
  // As the agent does, and once more for what the first plan leaves for later.
  ApplyReport converge_all() {
    for (int turn = 0;; turn++) {
      compile_now();
      const ApplyReport report = applier_->apply(plan(applier_->state(), compiled_, facts_), facts_.now);
      if (turn == 1 || !report.complete()) return report;
    }
  }
  void later(std::chrono::nanoseconds duration) {
    pass(duration);
    ASSERT_TRUE(converge_all().complete());
  }
  const grantd_policy* policy(const std::string& grant) const {
    const KernelState& state = applier_->state();
    for (const auto& [slot, name] : state.slot_names)
      if (text_of(name.grant) == "keystone-system/" + grant)
        if (const auto published = state.published.find(slot); published != state.published.end())
          return &state.policies.at(published->second);
    return nullptr;
  }
  std::vector<std::string> compiled() const {
    std::vector<std::string> keys;
    for (const CompiledGrant& each : compiled_.grants) keys.push_back(each.key.substr(each.key.find('/') + 1));
    return keys;
  }
  void expect_the_bucket_of_before() const {
    ASSERT_NE(policy("g"), nullptr);
    EXPECT_EQ(policy("g")->grant_epoch, before_.grant_epoch) << "a full bucket";
    EXPECT_EQ(policy("g")->slot, before_.slot);
    EXPECT_TRUE(applier_->state().tables.contains(before_.slot)) << "counters and flows";
  }

  DesiredState desired_;
  Limits limits_;
  CompiledPolicy compiled_;
  grantd_policy before_{};
  std::unique_ptr<Applier> applier_ = std::make_unique<Applier>(kernel_);
};

TEST_F(WithoutGuests, ALabelOfTheGuestsOwnFillsNoBucket) {
  for (int turn = 0; turn < 3; turn++) {
    pass(milliseconds(20));
    leave();
    expect_the_bucket_of_before();
    pass(turn == 2 ? milliseconds(5000) : milliseconds(20));
    come_back();
    expect_the_bucket_of_before();
  }
}

TEST_F(WithoutGuests, APodMadeAgainFillsNoBucket) {
  desired_.workloads.clear();
  std::erase_if(node_.interfaces, [](const InterfaceFact& each) { return each.ifindex == 10; });
  later(milliseconds(20));
  later(seconds(5));
  expect_the_bucket_of_before();
  node_.interfaces.push_back(desired::interface("veth-d", 12));
  node_.pod_interfaces = {{"uid-2", {{12, {desired::address("10.42.0.8")}, ""}}}};
  set_label("g");
  desired_.workloads[0].pod->uid = desired_.workloads[0].pod->node_uid = "uid-2";
  desired_.workloads[0].addresses = {desired::address("10.42.0.8")};
  later(seconds(1));
  expect_the_bucket_of_before();
  EXPECT_EQ(applier_->state().endpoints.at(12).slot, before_.slot);
}

TEST_F(WithoutGuests, AnotherGrantInTheMeantimeFillsNoBucket) {
  set_label("h");
  later(seconds(1));
  EXPECT_THAT(compiled(), ElementsAre("g", "h"));
  set_label("g");
  later(seconds(1));
  EXPECT_THAT(compiled(), ElementsAre("g", "h"));
  expect_the_bucket_of_before();
}

TEST_F(WithoutGuests, ItGoesWhenNoBucketCanBeInDebtAnyMore) {
  leave();
  later(seconds(599));
  expect_the_bucket_of_before();
  later(seconds(1));
  EXPECT_EQ(policy("g"), nullptr);
  for (int turn = 0; turn < 2; turn++) later(seconds(2));
  EXPECT_FALSE(applier_->state().tables.contains(before_.slot));
  EXPECT_THAT(applier_->state().slot_names, IsEmpty());
  come_back();
  EXPECT_NE(policy("g"), nullptr);
}

// What counts is how long nobody was under it, not how long ago somebody came.
TEST_F(WithoutGuests, TheTimeBeginsWithTheLastGuest) {
  leave();
  later(seconds(400));
  come_back();
  later(seconds(400));
  leave();
  later(seconds(400));
  expect_the_bucket_of_before();
}

TEST_F(WithoutGuests, AnAgentThatStartsFindsItInForce) {
  leave();
  later(seconds(400));
  applier_ = std::make_unique<Applier>(kernel_);
  ASSERT_TRUE(applier_->refresh(time_.boot_now).ok());
  later(seconds(1));
  expect_the_bucket_of_before();
  later(seconds(400));
  ASSERT_TRUE(applier_->refresh(time_.boot_now).ok()) << "to look for drift begins nothing anew";
  expect_the_bucket_of_before();
  later(seconds(199));
  EXPECT_EQ(policy("g"), nullptr);
}

TEST_F(WithoutGuests, ADeletedOneGoesAtOnce) {
  leave();
  const Grant deleted = desired_.grants[0];
  desired_.grants.erase(desired_.grants.begin());
  later(milliseconds(20));
  EXPECT_EQ(policy("g"), nullptr);
  desired_.grants.insert(desired_.grants.begin(), deleted);
  later(milliseconds(20));
  EXPECT_EQ(policy("g"), nullptr) << "what is not in force is not kept";
}

TEST_F(WithoutGuests, ItsRevocationAndItsEditsAreFollowed) {
  leave();
  desired_.grants[0].egress_bps = 4'000'000;
  later(seconds(1));
  EXPECT_EQ(policy("g")->limit[GRANTD_EGRESS].rate_bps, 4'000'000U);
  expect_the_bucket_of_before();
  desired_.grants[0].revoked = true;
  later(seconds(1));
  EXPECT_EQ(policy("g")->not_after_ns, kAtOnce);
  EXPECT_EQ(policy("g")->end_reason, GRANTD_REASON_REVOKED);
}

// Flows of before wait for a realm that has lost something meanwhile to speak again.
TEST_F(WithoutGuests, LossesOfAddressesAreFollowed) {
  leave();
  const std::uint64_t before = applier_->state().published.at(policy("g")->slot);
  desired_.realms[2] = desired::realm("carol", {"192.0.2.0/25"});
  later(seconds(1));
  EXPECT_NE(applier_->state().published.at(policy("g")->slot), before);
  come_back();
  expect_the_bucket_of_before();
}

TEST_F(WithoutGuests, WhatCannotBeEnforcedIsNotKept) {
  leave();
  desired_.grants[0].valid_until = time_.now + std::chrono::hours(1);
  time_.trusted = false;
  compile_now();
  EXPECT_THAT(compiled(), IsEmpty()) << "a quarantine concerns guests";
  later(seconds(1));
  EXPECT_EQ(policy("g"), nullptr) << "dated, by a clock that is not trusted";
  time_.trusted = true;
  come_back();
  leave();
  desired_.grants[0].destinations.own().push_back(desired::destination("realm:unknown-to-all"));
  later(seconds(1));
  EXPECT_EQ(policy("g"), nullptr) << "refused";
  EXPECT_THAT(compiled_.refused, IsEmpty()) << "a refusal concerns guests";
}

// It takes nothing from one that governs somebody.
TEST_F(WithoutGuests, ItIsTheFirstThatGoesWhereALimitIsReached) {
  const auto full = [](const CompiledPolicy& policy, grantd_bound_kind kind) { return policy.bounds[kind].used; };
  struct Edge {
    std::size_t Limits::*limit;
    grantd_bound_kind kind;
  };
  for (const Edge& edge :
       {Edge{&Limits::grants, GRANTD_BOUND_GRANTS}, Edge{&Limits::rules, GRANTD_BOUND_RULES},
        Edge{&Limits::identities, GRANTD_BOUND_IDENTITIES}, Edge{&Limits::flows, GRANTD_BOUND_FLOWS}}) {
    limits_ = {};
    come_back();
    set_label("h");
    later(seconds(1));
    ASSERT_THAT(compiled(), ElementsAre("g", "h"));
    limits_.*edge.limit = full(compiled_, edge.kind);
    later(seconds(1));
    EXPECT_THAT(compiled(), ElementsAre("g", "h")) << "both fit, limit " << edge.kind;
    EXPECT_EQ(full(compiled_, edge.kind), limits_.*edge.limit);
    limits_.*edge.limit -= 1;
    later(seconds(1));
    EXPECT_THAT(compiled(), ElementsAre("h")) << edge.kind;
    EXPECT_THAT(compiled_.refused, IsEmpty());
    EXPECT_EQ(compiled_.bounds[edge.kind].refused, 0U);
    EXPECT_EQ(policy("g"), nullptr);
    EXPECT_NE(policy("h"), nullptr);
    later(seconds(2));
  }
}

// Of several the one whose guests left last: its bucket is the likeliest to be in debt.
TEST_F(WithoutGuests, TheLastOneStaysWhereThereIsRoomForOne) {
  set_label("h");
  later(seconds(1));
  pass(seconds(1));
  leave();
  later(seconds(1));
  ASSERT_THAT(compiled(), ElementsAre("g", "h"));
  limits_.grants = 1;
  later(seconds(1));
  EXPECT_THAT(compiled(), ElementsAre("h"));
}

// One that never governed a guest here is none of this node's business.
TEST_F(WithoutGuests, OthersAreNotTakenUp) {
  later(seconds(1));
  EXPECT_THAT(compiled(), ElementsAre("g"));
  leave();
  EXPECT_THAT(compiled(), ElementsAre("g"));
}

}  // namespace
}  // namespace grantd
