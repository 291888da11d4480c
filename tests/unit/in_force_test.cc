// What compile is told of what the kernel holds already.
#include "agent/plan/in_force.h"
#include "maps/fixed_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Pair;

constexpr std::uint32_t kSlot = 3, kRules = 30;
constexpr std::uint64_t kPolicy = 300;
constexpr BootNanoseconds kNow = 77, kEarlier = 33, kNever = ~0ULL;

grantd_slotname named(const char* grant) {
  grantd_slotname name{};
  copy_text(name.grant, grant);
  return name;
}

grantd_endpoint under(std::uint32_t slot, std::uint32_t flags = 0) {
  grantd_endpoint record{};
  record.slot = slot;
  record.flags = flags;
  return record;
}

// A Grant with all that it may hold.
KernelState with_a_grant() {
  KernelState kernel;
  kernel.slot_names[kSlot] = named("space/g");
  kernel.published[kSlot] = kPolicy;
  kernel.policies[kPolicy].rules_id = kRules;
  kernel.rule_sets[kRules].rules.resize(2);
  kernel.rule_sets[kRules].identity_rules.resize(1);
  kernel.tables[kSlot] = 16;
  return kernel;
}

HeldRoom held(const KernelState& kernel) { return in_force(kernel).grants.at("space/g"); }

TEST(InForce, OfAGrantItsRulesAndItsFlows) {
  const HeldRoom all = held(with_a_grant());
  EXPECT_EQ(all.rules, 3U);
  EXPECT_EQ(all.flows, 16U);
  EXPECT_TRUE(all.published);
  EXPECT_EQ(all.without_guests_since, kNever);
}

TEST(InForce, AGrantHasNoFewerRulesThanDestinations) {
  KernelState kernel = with_a_grant();
  kernel.rule_sets[kRules].sources.resize(5);
  EXPECT_EQ(held(kernel).rules, 5U);
}

TEST(InForce, InQuarantineAGrantHoldsItsTablesAlone) {
  KernelState kernel = with_a_grant();
  kernel.published.clear();
  const HeldRoom all = held(kernel);
  EXPECT_FALSE(all.published);
  EXPECT_EQ(all.rules, 0U);
  EXPECT_EQ(all.flows, 16U);
}

// As after a map was spoiled.
TEST(InForce, WithoutItsPolicyOrItsRulesAGrantHasNoRules) {
  KernelState kernel = with_a_grant();
  kernel.rule_sets.clear();
  EXPECT_EQ(held(kernel).rules, 0U);
  kernel = with_a_grant();
  kernel.policies.clear();
  kernel.rule_sets[0].rules.resize(9);
  EXPECT_EQ(held(kernel).rules, 0U);
  EXPECT_TRUE(held(kernel).published);
}

TEST(InForce, AGrantWithoutTablesHoldsNoFlows) {
  KernelState kernel = with_a_grant();
  kernel.tables = {{kSlot + 1, 99}};
  EXPECT_EQ(held(kernel).flows, 0U);
}

TEST(InForce, SinceWhenAGrantHasNoGuests) {
  KernelState kernel = with_a_grant();
  kernel.slot_names[kSlot + 1] = named("space/other");
  kernel.without_guests_since[kSlot] = kEarlier;
  EXPECT_EQ(held(kernel).without_guests_since, kEarlier);
  EXPECT_EQ(in_force(kernel).grants.at("space/other").without_guests_since, kNever);
}

TEST(InForce, InterfacesAndCgroupsWithARecordOfTheirOwn) {
  KernelState kernel;
  kernel.endpoints[11] = under(kSlot);
  kernel.host_guests[21] = under(kSlot, GRANTD_ENDPOINT_HOST_NETWORK);
  kernel.host_guests[22] = under(kSlot);  // of a pod with an interface, which has a record for that
  const InForce all = in_force(kernel);
  EXPECT_THAT(all.interfaces, ElementsAre(11));
  EXPECT_THAT(all.cgroups, ElementsAre(21));
}

TEST(InForce, RealmsWithAnIdentityAndPrefixes) {
  KernelState kernel;
  kernel.identity_names[5] = {IdentityName::Kind::Realm, "bob-home"};
  kernel.identity_names[6] = {IdentityName::Kind::Grant, "space/g"};
  kernel.prefixes[{}] = 5;
  const InForce all = in_force(kernel);
  EXPECT_THAT(all.realms, ElementsAre("bob-home"));
  EXPECT_EQ(all.prefixes, 1U);
}

TEST(SlotsWithoutGuests, SinceTheirLastGuestHasGone) {
  KernelState kernel = with_a_grant();
  note_slots_without_guests(kNow, kernel);
  EXPECT_THAT(kernel.without_guests_since, ElementsAre(Pair(kSlot, kNow)));
  note_slots_without_guests(kNow + 1, kernel);
  EXPECT_THAT(kernel.without_guests_since, ElementsAre(Pair(kSlot, kNow))) << "and not since they were last looked at";
}

TEST(SlotsWithoutGuests, NotWhatHasOne) {
  for (const bool on_the_host_network : {false, true}) {
    KernelState kernel = with_a_grant();
    kernel.without_guests_since[kSlot] = kEarlier;
    if (on_the_host_network)
      kernel.host_guests[21] = under(kSlot, GRANTD_ENDPOINT_HOST_NETWORK);
    else
      kernel.endpoints[11] = under(kSlot);
    note_slots_without_guests(kNow, kernel);
    EXPECT_THAT(kernel.without_guests_since, IsEmpty());
  }
}

TEST(SlotsWithoutGuests, NotWhatIsInQuarantine) {
  KernelState kernel = with_a_grant();
  kernel.without_guests_since[kSlot] = kEarlier;
  kernel.published.clear();
  note_slots_without_guests(kNow, kernel);
  EXPECT_THAT(kernel.without_guests_since, IsEmpty());
}

}  // namespace
}  // namespace grantd
