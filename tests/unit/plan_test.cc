#include "tests/unit/plan_fixture.h"

#include "agent/plan/encode.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using desired::grant;
using desired::workload;
using desired::world;
using testing::HasSubstr;
using testing::IsEmpty;

TEST_F(PlanTest, AttachesBeforeAnythingAndOpensLast) {
  const auto steps = names(next(with_grant()));
  const auto at = [&](const char* name) { return std::find(steps.begin(), steps.end(), name) - steps.begin(); };
  const auto last = [&](const char* name) { return steps.rend() - std::find(steps.rbegin(), steps.rend(), name) - 1; };
  EXPECT_LT(last("attach"), at("put_rules"));
  EXPECT_LT(at("put_rules"), at("put_policy"));
  EXPECT_LT(at("put_policy"), at("publish"));
  EXPECT_LT(at("make_tables"), at("publish"));
  EXPECT_LT(at("publish"), at("put_endpoint"));
  EXPECT_LT(at("publish"), at("put_prefixes"));
}

TEST_F(PlanTest, NothingIsLeftToDoAfterAPlan) {
  ASSERT_TRUE(converge(with_grant()).complete());
  EXPECT_THAT(names(next(with_grant())), IsEmpty());
}

TEST_F(PlanTest, AnAgentThatStartsAgainAdoptsWhatItFinds) {
  converge(with_grant());
  Applier another(kernel_);
  ASSERT_TRUE(another.refresh(time_.boot_now).ok());
  facts_.now = time_.boot_now;
  EXPECT_THAT(names(plan(another.state(), compile(with_grant(), node_, time_), facts_)), IsEmpty());
}

TEST_F(PlanTest, AChangeOfRateCopiesNoRules) {
  converge(with_grant());
  const auto before = published();
  DesiredState desired = with_grant();
  desired.grants[0].egress_bps = 1'000'000;
  const auto steps = names(next(desired));
  EXPECT_EQ(std::count(steps.begin(), steps.end(), "put_rules"), 0);
  converge(desired);
  EXPECT_NE(published(), before);
  EXPECT_EQ(applier_.state().rule_sets.size(), 1U);
}

TEST_F(PlanTest, OldRecordsGoASecondLater) {
  converge(with_grant());
  DesiredState desired = with_grant({"203.0.113.0/24"});
  converge(desired);
  EXPECT_EQ(applier_.state().policies.size(), 2U);
  pass(std::chrono::milliseconds(900));
  converge(desired);
  EXPECT_EQ(applier_.state().policies.size(), 2U);
  const Plan waiting = next(desired);
  EXPECT_LE(waiting.next_due, time_.boot_now + kRetireAfter);
  pass(std::chrono::nanoseconds(waiting.next_due - time_.boot_now - 1));
  converge(desired);
  EXPECT_EQ(applier_.state().policies.size(), 2U);
  pass(std::chrono::nanoseconds(1));
  converge(desired);
  EXPECT_EQ(applier_.state().policies.size(), 1U);
  EXPECT_EQ(applier_.state().rule_sets.size(), 1U);
}

TEST_F(PlanTest, AGrantThatIsGoneLeavesItsGuestsInQuarantine) {
  converge(with_grant());
  DesiredState desired = with_grant();
  desired.grants.clear();
  converge(desired);
  EXPECT_THAT(applier_.state().published, IsEmpty());
  EXPECT_EQ(applier_.state().endpoints.at(10).slot, 0U);
  EXPECT_THAT(text_of(applier_.state().guests.begin()->second.quarantine), HasSubstr("keystone-system/g"));
}

TEST_F(PlanTest, ARefusedGrantKeepsWhatIsInForce) {
  converge(with_grant());
  const auto before = published();
  DesiredState desired = with_grant({"realm:dave"});
  const Plan refused = next(desired);
  EXPECT_THAT(names(refused), IsEmpty());
  EXPECT_EQ(published(), before);
}

TEST_F(PlanTest, ARefusedGrantEndsNoLaterThanItSaysNow) {
  converge(with_grant());
  DesiredState refused = with_grant({"realm:dave"});
  refused.grants[0].valid_until = time_.now + std::chrono::hours(2);
  converge(refused);
  EXPECT_EQ(in_force_now().not_after_ns, time_.boot_now + 2 * kHour) << "sooner than never";
  EXPECT_EQ(in_force_now().end_reason, GRANTD_REASON_EXPIRED);
  refused.grants[0].valid_until = time_.now + std::chrono::hours(3);
  converge(refused);
  EXPECT_EQ(in_force_now().not_after_ns, time_.boot_now + 2 * kHour) << "what is refused opens nothing";
  refused.grants[0].revoked = true;
  refused.grants[0].notice_period = std::chrono::hours(1);
  refused.grants[0].egress_bps = 8000;
  refused.grants[0].egress_burst_bytes = 1 << 20;  // its destinations are no reason to refuse it any more
  converge(refused);
  EXPECT_EQ(in_force_now().not_after_ns, 1U) << "a revocation closes destinations at once";
  EXPECT_EQ(in_force_now().end_reason, GRANTD_REASON_REVOKED);
}

TEST_F(PlanTest, ARefusedGrantThatIsRevokedAlreadyKeepsItsNotice) {
  DesiredState desired = with_grant();
  desired.grants[0].revoked = true;
  desired.grants[0].notice_period = std::chrono::hours(1);
  converge(desired);
  const BootNanoseconds end = in_force_now().not_after_ns;
  EXPECT_GT(end, time_.boot_now);
  desired.grants[0].egress_bps = 8000;
  desired.grants[0].egress_burst_bytes = 1 << 20;  // refused
  converge(desired);
  EXPECT_EQ(in_force_now().not_after_ns, end);
}

TEST_F(PlanTest, TheEndOfARefusedGrantMovesWithAClockThatIsSetAhead) {
  DesiredState desired = with_grant(), refused = with_grant({"realm:dave"});
  desired.grants[0].valid_until = time_.now + std::chrono::hours(2);
  facts_.boot_to_wall_ns = 1'000 * kHour;
  converge(desired);
  const BootNanoseconds end = in_force_now().not_after_ns;
  time_.now += std::chrono::hours(1);
  facts_.boot_to_wall_ns += kHour;
  converge(refused);
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour);
  time_.now -= std::chrono::minutes(30);
  facts_.boot_to_wall_ns -= kHour / 2;
  converge(refused);
  EXPECT_EQ(in_force_now().not_after_ns, end - kHour) << "set back it gives no time";
}

TEST_F(PlanTest, ARefusedGrantWithDatesIsClosedWhileTheClockIsNotTrusted) {
  DesiredState desired = with_grant(), refused = with_grant({"realm:dave"});
  desired.workloads.push_back(desired::workload("undated", "h", "veth-b", {"10.20.0.3"}));
  desired.grants.push_back(desired::grant("h", {}));
  desired.grants[0].valid_until = time_.now + std::chrono::hours(2);
  converge(desired);
  EXPECT_EQ(applier_.state().published.size(), 2U);
  desired.grants[0].destinations = refused.grants[0].destinations;
  desired.grants[1].destinations = refused.grants[0].destinations;
  desired.grants[0].valid_until.reset();
  time_.trusted = facts_.clock_trusted = false;
  converge(desired);
  ASSERT_EQ(applier_.state().published.size(), 1U);
  EXPECT_STREQ(applier_.state().slot_names.at(applier_.state().published.begin()->first).grant, "keystone-system/h");
}

TEST_F(PlanTest, TablesOfGrantsThatAreGoneAreTakenAwayOneByOne) {
  DesiredState desired = with_grant();
  desired.workloads.push_back(desired::workload("other", "h", "veth-b", {"10.20.0.3"}));
  desired.grants.push_back(desired::grant("h", {}));
  converge(desired);
  EXPECT_EQ(applier_.state().tables.size(), 3U) << "and slot 0's";
  desired.grants.clear();
  converge(desired);
  pass(std::chrono::nanoseconds(2 * kRetireAfter));
  const Plan first = next(desired);
  applier_.apply(first, facts_.now);
  EXPECT_EQ(applier_.state().tables.size(), 2U);
  EXPECT_EQ(applier_.state().slot_names.size(), 1U) << "a slot keeps its name as long as its tables";
  EXPECT_LE(first.next_due, facts_.now) << "and what waits is judged before the next";
  converge(desired);
  EXPECT_EQ(applier_.state().tables.size(), 1U);
  EXPECT_THAT(applier_.state().slot_names, IsEmpty());
}

TEST_F(PlanTest, ARefusedGrantWithNothingInForceIsQuarantine) {
  converge(with_grant({"realm:dave"}));
  EXPECT_THAT(applier_.state().published, IsEmpty());
  EXPECT_EQ(applier_.state().endpoints.at(10).slot, 0U);
}

TEST_F(PlanTest, ADeletedWorkloadStaysClosedUntilItsInterfaceGoes) {
  converge(with_grant());
  DesiredState desired = with_grant();
  desired.workloads.clear();
  converge(desired);
  EXPECT_EQ(applier_.state().endpoints.at(10).slot, 0U);
  EXPECT_EQ(applier_.state().attachments.count({Hook::FromGuest, 10, 0}), 1U);
  node_.interfaces.erase(node_.interfaces.begin());
  facts_.now = time_.boot_now;
  facts_.interfaces = {2, 11, 12};
  applier_.apply(plan(applier_.state(), compile(desired, node_, time_), facts_), facts_.now);
  EXPECT_EQ(applier_.state().endpoints.count(10), 0U);
  // What stands is newer than what is known of interfaces: one that has just come back is not opened.
  EXPECT_EQ(applier_.state().attachments.count({Hook::FromGuest, 10, 0}), 1U);
}

// Between one class and another it is of none, so that nobody is believed who is not to be.
TEST_F(PlanTest, AnUplinkThatGetsAnotherClassIsOfNoneInBetween) {
  converge(with_grant());
  EXPECT_EQ(applier_.state().uplinks.at(2).uplink_class, GRANTD_UPLINK_LAN);
  node_.uplink_rules = {{"eth*", UplinkClass::Tailnet}};
  std::vector<std::uint32_t> classes;
  const Plan changed = next(with_grant());
  for (const Step& step : changed.steps)
    if (const auto* put = std::get_if<operation::PutUplink>(&step.operation))
      classes.push_back(put->uplink.uplink_class);
  EXPECT_THAT(classes, testing::ElementsAre(GRANTD_UPLINK_UNTRUSTED, GRANTD_UPLINK_TAILNET));
  applier_.apply(changed, facts_.now);
  EXPECT_EQ(applier_.state().uplinks.at(2).uplink_class, GRANTD_UPLINK_TAILNET);
  EXPECT_THAT(next(with_grant()).steps, IsEmpty());
}

TEST_F(PlanTest, AGuestOfTheHostNetworkIsKnownByItsCgroup) {
  constexpr std::uint64_t kCgroup = 77;
  DesiredState desired = with_grant();
  Workload host = workload("host", "g", "", {"192.0.2.1"});
  host.cgroup = "/sys/fs/cgroup/host";
  desired.workloads = {host};
  node_.cgroup_ids = {{host.cgroup, kCgroup}};
  converge(desired);
  for (const Hook hook : {Hook::Connect4, Hook::Connect6, Hook::SkbEgress, Hook::SkbIngress})
    EXPECT_EQ(applier_.state().attachments.count({hook, 0, kCgroup}), 1U);
  ASSERT_EQ(applier_.state().guests.size(), 1U);
  EXPECT_EQ(text_of(applier_.state().guests.begin()->second.quarantine), "");
  ASSERT_EQ(applier_.state().host_guests.count(kCgroup), 1U);
  EXPECT_NE(applier_.state().host_guests.at(kCgroup).slot, 0U);

  desired.workloads[0].grant = "keystone-system/none";
  converge(desired);
  EXPECT_EQ(applier_.state().host_guests.at(kCgroup).slot, 0U);
  EXPECT_NE(text_of(applier_.state().guests.begin()->second.quarantine), "");
  EXPECT_THAT(next(desired).steps, IsEmpty());
}

TEST(Encode, WhatIsReadBackOfAPrefixIsWhatWasWritten) {
  for (const char* text : {"192.0.2.0/24", "198.51.100.7/32", "2001:db8::/33", "2001:db8::1/128"}) {
    const PrefixKey key{GRANTD_UPLINK_TAILNET, desired::prefix(text)};
    EXPECT_EQ(decode_prefix_key(encode_prefix_key(key)), key) << text;
  }
}

TEST_F(PlanTest, AnInterfaceMadeAgainUnderTheSameIndexIsAnotherEndpoint) {
  converge(with_grant());
  const auto before = applier_.state().endpoints.at(10).endpoint_id;
  kernel_.lose_attachments(10);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  converge(with_grant());
  EXPECT_NE(applier_.state().endpoints.at(10).endpoint_id, before);
}

// Our programs would judge it as the one before, however short the time.
TEST_F(PlanTest, TheRecordOfTheInterfaceBeforeGoesFirst) {
  kernel_.removals_fail = false;
  converge(with_grant());
  kernel_.lose_interface(10);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  for (const char* failing : {"put_node", "none"}) {
    kernel_.fail(failing);
    converge(with_grant());
    EXPECT_EQ(applier_.state().attachments.count({Hook::FromGuest, 10, 0}), 1U) << failing;
    EXPECT_THAT(kernel_.violations(), IsEmpty()) << failing;
  }
  EXPECT_NE(applier_.state().endpoints.at(10).slot, 0U);
}

TEST_F(PlanTest, ADeletedWorkloadsInterfaceThatIsMadeAgainIsAnotherEndpoint) {
  converge(with_grant());
  const auto before = applier_.state().endpoints.at(10).endpoint_id;
  DesiredState desired = with_grant();
  desired.workloads.clear();
  converge(desired);
  ASSERT_EQ(applier_.state().endpoints.at(10).endpoint_id, before);
  kernel_.lose_interface(10);
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  converge(desired);
  const auto closed = applier_.state().endpoints.at(10);
  EXPECT_NE(closed.endpoint_id, before);
  EXPECT_EQ(closed.slot, 0U);
  EXPECT_THAT(text_of(applier_.state().guests.at(closed.endpoint_id).quarantine), HasSubstr("Workload"));
  EXPECT_THAT(next(desired).steps, IsEmpty());
  converge(with_grant());
  EXPECT_NE(applier_.state().endpoints.at(10).endpoint_id, before) << "its flows are another's";
}

TEST_F(PlanTest, SomebodyElsesProgramBeforeOursMakesNoOtherEndpoint) {
  converge(with_grant());
  const auto before = applier_.state().endpoints.at(10);
  kernel_.get_before({Hook::FromGuest, 10, 0});
  ASSERT_TRUE(applier_.refresh_attachments().ok());
  EXPECT_THAT(names(next(with_grant())), testing::ElementsAre("attach"));
  converge(with_grant());
  EXPECT_TRUE(same_bytes(applier_.state().endpoints.at(10), before));
  EXPECT_EQ(applier_.state().attachments.count({Hook::FromGuest, 10, 0}), 1U);
}

TEST_F(PlanTest, APodMadeAgainUnderTheSameNameIsAnotherEndpoint) {
  DesiredState desired = world();
  desired.grants = {grant("g", {})};
  desired.workloads = {workload("guest-bob/web", "g", "", {})};
  const auto converge_with = [&](const std::string& uid) {
    desired.workloads[0].pod = GuestPod{};
    desired.workloads[0].pod->uid = uid;
    desired.workloads[0].pod->realm = "bob";
    node_.pod_interfaces = {{uid, {{10, {desired::address("10.42.0.7")}, ""}}}};
    converge(desired);
    return applier_.state().endpoints.at(10).endpoint_id;
  };
  const auto first = converge_with("uid-1");
  EXPECT_NE(applier_.state().endpoints.at(10).slot, 0U);
  EXPECT_EQ(converge_with("uid-1"), first);
  EXPECT_NE(converge_with("uid-2"), first);
}

TEST_F(PlanTest, ARealmThatLosesAddressesPutsItsFlowsInDoubtAndNoOthers) {
  converge(with_grant());
  const BegunFlow bobs = begin(realm("bob")), alices = begin(realm("alice"));
  ASSERT_TRUE(goes_on(bobs));
  ASSERT_TRUE(goes_on(alices));
  DesiredState desired = with_grant();
  desired.realms[1] = desired::realm("bob", {"100.64.7.0/24", "fd7a:115c:a1e0:b0b::/64", "100.64.8.0/24"});
  converge(desired);
  EXPECT_TRUE(goes_on(bobs)) << "more addresses put nothing in doubt";
  converge(with_grant());
  EXPECT_FALSE(goes_on(bobs));
  EXPECT_TRUE(goes_on(alices));
}

TEST_F(PlanTest, WhatARealmLostWhileItsGrantWasAwayPutsFlowsInDoubt) {
  converge(with_grant());
  const BegunFlow bobs = begin(realm("bob"));
  DesiredState without = with_grant();
  without.grants.clear();
  converge(without);
  converge(with_grant());
  EXPECT_FALSE(goes_on(bobs));
}

TEST_F(PlanTest, APartyForWhomNoNumberIsLeftPutsNothingInDoubtAgainAndAgain) {
  KernelState state = applier_.state();
  for (std::uint32_t number = GRANTD_IDENTITY_FIRST; number <= GRANTD_MAX_IDENTITIES; number++)
    state.identity_names[number] = {IdentityName::Kind::Realm, "other-" + std::to_string(number)};
  for (int turn = 0; turn < 3; turn++) {
    node_.in_force = in_force(state);
    facts_.interfaces = {2, 10, 11, 12};
    facts_.now = time_.boot_now;
    std::size_t published = 0;
    for (const Step& step : plan(state, compile(with_grant(), node_, time_), facts_).steps) {
      if (std::holds_alternative<operation::RemoveIdentityName>(step.operation)) continue;  // they stay taken
      published += std::holds_alternative<operation::Publish>(step.operation);
      record(step.operation, facts_.now, state);
    }
    EXPECT_EQ(published, turn == 0 ? 1U : 0U);
  }
}

// After each step of a plan the agent may be killed, and begins anew with what the kernel holds.
TEST_F(PlanTest, ALossThatWasCutShortPutsFlowsInDoubtAllTheSame) {
  DesiredState fewer = with_grant();
  fewer.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  converge(with_grant());
  const std::size_t steps = next(fewer).steps.size();
  ASSERT_GT(steps, 4U);
  for (std::size_t done = 0; done < steps; done++) {
    converge(with_grant());
    const BegunFlow bobs = begin(realm("bob"));
    ASSERT_TRUE(goes_on(bobs));
    EXPECT_TRUE(converge_cut_short(fewer, done).complete());
    converge(fewer);
    EXPECT_FALSE(goes_on(bobs)) << "cut after " << done << " steps";
    EXPECT_TRUE(next(fewer).steps.empty());
  }
}

TEST_F(PlanTest, AddressesAreTakenAwayBeforeThePublicationAndGivenAfterIt) {
  converge(with_grant());
  DesiredState desired = with_grant();
  desired.realms[1] = desired::realm("bob", {"fd7a:115c:a1e0:b0b::/64"});
  desired.realms[2] = desired::realm("carol", {"192.0.2.0/24", "100.64.7.0/24"});
  const Plan moved = next(desired);
  bool published_now = false;
  for (const Step& step : moved.steps) {
    published_now = published_now || std::holds_alternative<operation::Publish>(step.operation);
    if (const auto* put = std::get_if<operation::PutPrefixes>(&step.operation)) {
      for (const auto& [key, identity] : put->prefixes) EXPECT_EQ(identity != 0, published_now);
    }
  }
  EXPECT_TRUE(published_now);
}

TEST_F(PlanTest, AGuestThatChangesItsGrantIsClosedBetween) {
  DesiredState desired = with_grant();
  desired.grants.push_back(grant("h", {"203.0.113.0/24"}));
  converge(desired);
  desired.workloads[0].grant = "keystone-system/h";
  std::vector<std::uint32_t> slots;
  for (const Step& step : next(desired).steps)
    if (const auto* put = std::get_if<operation::PutEndpoint>(&step.operation)) slots.push_back(put->endpoint->slot);
  ASSERT_EQ(slots.size(), 2U);
  EXPECT_EQ(slots[0], 0U);
  EXPECT_NE(slots[1], 0U);
}

// What it used is counted by its number, and is no use of the other Grant.
TEST_F(PlanTest, AGuestThatChangesItsGrantGetsAnotherNumber) {
  DesiredState desired = with_grant();
  desired.grants.push_back(grant("h", {"203.0.113.0/24"}));
  ASSERT_TRUE(converge(desired).complete());
  const auto number = [&] { return applier_.state().endpoints.at(10).endpoint_id; };
  const std::uint32_t before = number();
  desired.grants[0].spec_hash = "edited";
  desired.grants[0].destinations.own().push_back(desired::destination("192.0.2.0/24"));
  ASSERT_TRUE(converge(desired).complete());
  EXPECT_EQ(number(), before) << "the control: an edit of its Grant";
  desired.workloads[0].grant = "keystone-system/h";
  ASSERT_TRUE(converge(desired).complete());
  EXPECT_NE(number(), before);
  EXPECT_THAT(names(next(desired)), IsEmpty());
}

TEST_F(PlanTest, AClockThatIsNotTrustedTakesDatedGrantsOutOfForce) {
  DesiredState desired = with_grant();
  desired.grants[0].valid_until = time_.now + std::chrono::hours(1);
  converge(desired);
  EXPECT_NE(published(), 0U);
  time_.trusted = false;
  converge(desired);
  EXPECT_EQ(published(), 0U);
  time_.trusted = true;
  converge(desired);
  EXPECT_NE(published(), 0U);
}

TEST_F(PlanTest, MovedLinesOfAManifestPublishNothing) {
  converge(with_grant());
  const auto before = published();
  DesiredState desired = with_grant();
  desired.grants[0].position.line = 77;
  desired.grants[0].destinations.own()[0].position.line = 78;
  const auto steps = names(next(desired));
  EXPECT_THAT(steps, testing::UnorderedElementsAre("put_slot_name", "put_sources"));
  converge(desired);
  EXPECT_EQ(published(), before);
}

TEST_F(PlanTest, AStepThatFailsHoldsBackItsSubjectAndStaysDue) {
  kernel_.fail("put_rules");
  const ApplyReport failed = converge(with_grant());
  EXPECT_FALSE(failed.complete());
  EXPECT_EQ(published(), 0U);
  EXPECT_EQ(applier_.errors_by_operation().at("put_rules"), 1U);
  kernel_.fail("");
  EXPECT_TRUE(converge(with_grant()).complete());
  EXPECT_NE(published(), 0U);
}

TEST_F(PlanTest, SlotsAreUsedAgainOnlyWhenNothingIsLeftInThem) {
  converge(with_grant());
  DesiredState desired = world();
  desired.grants = {grant("h", {})};
  converge(desired);
  const auto slot_of = [&](const char* name) {
    for (const auto& [slot, named] : applier_.state().slot_names)
      if (text_of(named.grant) == std::string("keystone-system/") + name) return slot;
    return 0U;
  };
  EXPECT_EQ(slot_of("h"), 2U);
  for (int i = 0; i < 3; i++) {
    pass(std::chrono::seconds(2));
    converge(desired);
  }
  EXPECT_EQ(slot_of("g"), 0U);
  desired.grants.push_back(grant("i", {}));
  converge(desired);
  EXPECT_EQ(slot_of("i"), 1U);
}

TEST(Encode, ALimitNeverGivesMoreThanItSays) {
  for (std::uint64_t rate : {8'000ULL, 1'000'003ULL, 100'000'000ULL, 400'000'000'000ULL}) {
    const grantd_limit limit = encode_limit({rate, 1 << 20}, 4);
    const long double exact = 8e9L / static_cast<long double>(rate);
    EXPECT_GE(static_cast<long double>(limit.cost_per_byte) / (1 << GRANTD_COST_SHIFT), exact * 0.9999999999L);
    EXPECT_LE(static_cast<long double>(limit.burst_ns),
              exact * ((1 << 20) - 4 * static_cast<long double>(limit.quantum_bytes)));
    EXPECT_LE(limit.quantum_bytes * 4 * 16, static_cast<std::uint64_t>(1) << 20);
  }
}

}  // namespace
}  // namespace grantd
