// Guests that are pods: which Grant governs each, and which interface is held for it.
#include "agent/compile/choose_grant.h"
#include "agent/compile/compile.h"
#include "tests/unit/desired_samples.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using desired::address;
using desired::grant;
using desired::node;
using desired::noon;
using desired::world;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

GuestPod of_bob() {
  GuestPod pod;
  pod.uid = "uid-1";
  pod.realm = "bob";
  return pod;
}

Workload pod(const std::string& name, GuestPod facts = of_bob()) {
  Workload workload;
  workload.name = "guest-bob/" + name;
  workload.pod = std::move(facts);
  return workload;
}

// "a", or "!" and why there is none.
std::string chosen(const std::vector<Grant>& grants, const GuestPod& pod) {
  const ChosenGrant choice = GrantChoice(grants, noon()).of(pod);
  EXPECT_NE(choice.key.empty(), choice.why.empty());
  EXPECT_EQ(choice.key.empty(), choice.cause != Cause::None);
  return choice.key.empty() ? "!" + choice.why : choice.key.substr(choice.key.find('/') + 1);
}

Grant revoked(Grant grant) {
  grant.revoked = true;
  return grant;
}

Grant of_carol(Grant grant) {
  grant.grantee_realm = "carol";
  return grant;
}

TEST(ChooseGrant, TheOnlyActiveOneOfItsRealm) {
  EXPECT_EQ(chosen({grant("a", {}), of_carol(grant("c", {}))}, of_bob()), "a");
  EXPECT_EQ(chosen({grant("a", {}), revoked(grant("b", {}))}, of_bob()), "a");
  EXPECT_EQ(chosen({of_carol(grant("c", {}))}, of_bob()), "!realm bob has no Grant");
  EXPECT_THAT(chosen({revoked(grant("a", {})), revoked(grant("b", {}))}, of_bob()), HasSubstr("is active"));
}

// Then another one may govern a pod, or none.
TEST(ChooseGrant, AGrantThatGovernsNobodyYetSaysWhenItBegins) {
  const TimeFacts time = noon();
  const auto in = [&](unsigned seconds) { return time.boot_now + seconds * GRANTD_NS_PER_SECOND; };
  DesiredState desired = world();
  desired.cluster = true;
  desired.grants = {grant("a", {}), grant("b", {})};
  desired.workloads = {pod("web")};
  EXPECT_EQ(compile(desired, node(), time).next_edge, ~0ULL);
  desired.grants[1].valid_from = time.now + std::chrono::seconds(7);
  desired.grants[1].valid_until = time.now + std::chrono::seconds(20);
  ASSERT_EQ(compile(desired, node(), time).grants.size(), 1U) << "the other governs nobody";
  EXPECT_EQ(compile(desired, node(), time).next_edge, in(7)) << "then two are active";
  desired.workloads[0].pod->own_grant = "b";
  ASSERT_THAT(compile(desired, node(), time).grants, IsEmpty());
  EXPECT_EQ(compile(desired, node(), time).next_edge, in(7)) << "then it is governed";
  desired.grants[1].valid_from = time.now - std::chrono::seconds(1);
  EXPECT_EQ(compile(desired, node(), time).next_edge, in(20));
  desired.grants[1].valid_until = time.now;
  EXPECT_EQ(compile(desired, node(), time).next_edge, ~0ULL) << "what is past is no edge";
}

TEST(ChooseGrant, TwoActiveOnesWantALabel) {
  const std::vector<Grant> both = {grant("a", {}), grant("b", {})};
  EXPECT_EQ(chosen(both, of_bob()), "!label it with one of 2 active Grants: a, b");
  GuestPod pod = of_bob();
  pod.own_grant = "b";
  EXPECT_EQ(chosen(both, pod), "b");
  pod.namespace_grant = "a";
  EXPECT_EQ(chosen(both, pod), "a") << "the namespace's label, which the guest cannot write, goes first";
}

TEST(ChooseGrant, AsManyNamesAsAPersonReads) {
  std::vector<Grant> several = {grant("a", {}), grant("b", {}), grant("c", {})};
  EXPECT_EQ(chosen(several, of_bob()), "!label it with one of 3 active Grants: a, b, c");
  several.push_back(grant("d", {}));
  EXPECT_EQ(chosen(several, of_bob()), "!label it with one of 4 active Grants: a, b, c, ...");
}

// The datapath holds the guest closed under its name (decision 31).
TEST(ChooseGrant, TheOnlyOneAlsoWhereItIsNotActive) {
  EXPECT_EQ(chosen({revoked(grant("a", {}))}, of_bob()), "a");
  GuestPod pod = of_bob();
  pod.own_grant = "a";
  EXPECT_THAT(chosen({revoked(grant("a", {}))}, pod), HasSubstr("is not active")) << "by its own label it may not be";
}

TEST(ChooseGrant, IsActiveFromItsBeginAndNotAtItsEnd) {
  const WallTime now = noon().now;
  const auto another = [](std::optional<WallTime> from, std::optional<WallTime> until) {
    Grant dated = grant("b", {});
    dated.valid_from = from;
    dated.valid_until = until;
    return dated;
  };
  const auto moment = std::chrono::nanoseconds(1);
  EXPECT_THAT(chosen({grant("a", {}), another(now, {})}, of_bob()), HasSubstr("2 active Grants"));
  EXPECT_EQ(chosen({grant("a", {}), another(now + moment, {})}, of_bob()), "a");
  EXPECT_THAT(chosen({grant("a", {}), another({}, now + moment)}, of_bob()), HasSubstr("2 active Grants"));
  EXPECT_EQ(chosen({grant("a", {}), another({}, now)}, of_bob()), "a");
}

TEST(ChooseGrant, AGuestsLabelReachesActiveGrantsOfItsOwnRealmOnly) {
  GuestPod pod = of_bob();
  pod.own_grant = "c";
  EXPECT_THAT(chosen({grant("a", {}), of_carol(grant("c", {}))}, pod), HasSubstr("is no Grant of realm bob"));
  EXPECT_THAT(chosen({grant("a", {}), revoked(grant("c", {}))}, pod), HasSubstr("is not active"));
  pod.own_grant = "a\x1b[2J";
  EXPECT_THAT(chosen({grant("a", {})}, pod), testing::Not(HasSubstr("\x1b")));
  pod.own_grant = std::string(64, 'x');
  EXPECT_THAT(chosen({grant("a", {})}, pod), testing::Not(HasSubstr(pod.own_grant))) << "longer than any name";
}

TEST(ChooseGrant, ANamespacesLabelThatNamesNothingIsNoWayToAnother) {
  GuestPod pod = of_bob();
  pod.own_grant = "a";
  pod.namespace_grant = "gone";
  EXPECT_THAT(chosen({grant("a", {})}, pod), HasSubstr("its namespace's label names gone"));
  pod.namespace_grant = "b";
  EXPECT_EQ(chosen({grant("a", {}), revoked(grant("b", {}))}, pod), "b")
      << "named: closed by its own end, not open by a";
}

TEST(ChooseGrant, ASelectorRestricts) {
  Grant narrow = grant("a", {});
  narrow.pod_selector = {{"tier", LabelRequirement::Operator::In, {"web", "api"}}};
  narrow.namespace_selector = {{"closed", LabelRequirement::Operator::DoesNotExist, {}}};
  GuestPod pod = of_bob();
  EXPECT_THAT(chosen({narrow}, pod), HasSubstr("no selector"));
  EXPECT_EQ(chosen({narrow, grant("b", {})}, pod), "b");
  pod.namespace_grant = "a";
  EXPECT_THAT(chosen({narrow}, pod), HasSubstr("leaves this pod out"));
  pod.labels = {{"tier", "api"}};
  EXPECT_EQ(chosen({narrow}, pod), "a");
  pod.namespace_labels = {{"closed", ""}};
  EXPECT_THAT(chosen({narrow}, pod), HasSubstr("leaves this pod out"));
}

TEST(Labels, AreFoundByTheirWholeKeys) {
  const Labels labels = {{"", "none"}, {"ab", ""}, {"a", "b"}, {"b", std::string(70'000, 'v')}, {"c", "d"}};
  EXPECT_EQ(labels.find(""), "none");
  EXPECT_EQ(labels.find("ab"), "");
  EXPECT_EQ(labels.find("a"), "b");
  EXPECT_EQ(labels.find("c"), "d");
  EXPECT_EQ(labels.find("v"), std::nullopt);
  EXPECT_FALSE(labels.contains("abc"));
  EXPECT_FALSE(labels.empty());
  EXPECT_TRUE(Labels().empty());
  EXPECT_FALSE((Labels{{"a", "bc"}} == Labels{{"ab", "c"}}));
}

TEST(LabelSelector, IsThatOfKubernetes) {
  using Operator = LabelRequirement::Operator;
  const Labels labels = {{"a", "1"}};
  EXPECT_TRUE(selects({}, labels));
  EXPECT_TRUE(selects({{"a", Operator::In, {"1", "2"}}}, labels));
  EXPECT_FALSE(selects({{"b", Operator::In, {""}}}, labels)) << "absent is not empty";
  EXPECT_TRUE(selects({{"b", Operator::NotIn, {"1"}}}, labels));
  EXPECT_FALSE(selects({{"a", Operator::NotIn, {"1"}}}, labels));
  EXPECT_FALSE(selects({{"a", Operator::Exists, {}}, {"b", Operator::Exists, {}}}, labels));
}

class PodEndpointsTest : public testing::Test {
 protected:
  PodEndpointsTest() {
    desired_.grants = {grant("g", {})};
    node_.pod_interfaces["uid-1"] = {{10, {address("10.42.0.7")}, ""}};
  }
  CompiledPolicy compiled(std::vector<Workload> guests) {
    desired_.workloads = std::move(guests);
    return compile(desired_, node_, noon());
  }
  // The only one.
  CompiledEndpoint endpoint(Workload guest) {
    const CompiledPolicy policy = compiled({std::move(guest)});
    EXPECT_EQ(policy.endpoints.size(), 1U);
    return policy.endpoints.empty() ? CompiledEndpoint{} : policy.endpoints[0];
  }

  DesiredState desired_ = world();
  NodeFacts node_ = node();
};

TEST_F(PodEndpointsTest, AnInterfaceThatWasFoundIsHeld) {
  Workload guest = pod("web");
  guest.addresses = {address("10.42.0.7")};
  const CompiledEndpoint held = endpoint(guest);
  EXPECT_EQ(held.guest, "guest-bob/web");
  EXPECT_EQ(held.uid, "uid-1");
  EXPECT_EQ(held.interface, "veth-a");
  EXPECT_EQ(held.grant, "keystone-system/g");
  EXPECT_THAT(held.addresses, ElementsAre(address("10.42.0.7")));
}

TEST_F(PodEndpointsTest, AllOfItsInterfacesAreHeld) {
  node_.pod_interfaces["uid-1"].push_back({11, {address("10.42.0.8")}, ""});
  EXPECT_EQ(compiled({pod("web")}).endpoints.size(), 2U);
}

TEST_F(PodEndpointsTest, WhatTheKernelOrTheApiServerSaysAgainstItIsQuarantine) {
  Workload guest = pod("web");
  guest.addresses = {address("10.42.0.99")};
  EXPECT_THAT(endpoint(guest).quarantine, HasSubstr("10.42.0.99"));
  EXPECT_EQ(endpoint(guest).grant, "");
  node_.pod_interfaces["uid-1"][0].doubt = "its network namespace cannot be opened";
  const CompiledEndpoint doubtful = endpoint(pod("web"));
  EXPECT_EQ(doubtful.quarantine, "its network namespace cannot be opened");
  EXPECT_EQ(doubtful.grant, "");
}

TEST_F(PodEndpointsTest, AGuestOfNoRealmIsQuarantineWhateverGrantsThereAre) {
  Workload guest = pod("web");
  guest.quarantine = "its realm cannot be told";
  EXPECT_EQ(endpoint(guest).grant, "");
  EXPECT_EQ(endpoint(guest).quarantine, "its realm cannot be told");
}

TEST_F(PodEndpointsTest, OneThatIsNotFoundIsToldAndAnothersUidFindsNothing) {
  GuestPod again = of_bob();
  again.uid = "uid-2";
  const CompiledPolicy policy = compiled({pod("web", again)});
  EXPECT_THAT(policy.endpoints, IsEmpty());
  EXPECT_THAT(policy.problems.back().text(), HasSubstr("Pod guest-bob/web: its interface is not found"));
}

TEST_F(PodEndpointsTest, AnUplinkIsNoGuestsInterface) {
  node_.pod_interfaces["uid-1"] = {{2, {address("10.42.0.7")}, ""}};
  EXPECT_THAT(compiled({pod("web")}).endpoints, IsEmpty());
}

TEST_F(PodEndpointsTest, TwoGuestsOfOneAddressAreBothInQuarantine) {
  GuestPod other = of_bob();
  other.uid = "uid-2";
  node_.pod_interfaces["uid-2"] = {{11, {address("10.42.0.7")}, ""}};
  for (const CompiledEndpoint& each : compiled({pod("a"), pod("b", other)}).endpoints) {
    EXPECT_EQ(each.grant, "");
    EXPECT_THAT(each.quarantine, HasSubstr("10.42.0.7"));
  }
}

TEST_F(PodEndpointsTest, OnTheHostNetworkItsCgroupIsHeldAndItIsToldThatThisIsNotEnough) {
  GuestPod host = of_bob();
  host.host_network = true;
  node_.pod_cgroups["uid-1"] = 4711;
  const CompiledPolicy policy = compiled({pod("web", host)});
  ASSERT_EQ(policy.endpoints.size(), 1U);
  EXPECT_TRUE(policy.endpoints[0].host_network);
  EXPECT_EQ(policy.endpoints[0].cgroup_id, 4711U);
  EXPECT_THAT(policy.problems.back().text(), HasSubstr("not enforced"));
}

TEST_F(PodEndpointsTest, AGuestThatRunsAndOfWhichNothingIsFoundIsUnheld) {
  GuestPod host = of_bob();
  host.host_network = true;
  CompiledPolicy policy = compiled({pod("web", host)});
  EXPECT_THAT(policy.endpoints, IsEmpty());
  ASSERT_EQ(policy.unheld.size(), 1U);
  EXPECT_EQ(policy.unheld[0].guest + " " + policy.unheld[0].grant, "guest-bob/web keystone-system/g");
  EXPECT_THAT(policy.unheld[0].why, HasSubstr("its cgroup is not found"));
  EXPECT_EQ(policy.unheld[0].cause, Cause::HostNetwork);
  node_.pod_interfaces.clear();
  Workload running = pod("web");
  EXPECT_THAT(compiled({running}).unheld, IsEmpty()) << "it has no network yet";
  running.addresses = {address("10.42.0.7")};
  node_.unfound_lately = {"uid-1"};
  EXPECT_THAT(compiled({running}).unheld, IsEmpty()) << "it may be ending";
  node_.unfound_lately.clear();
  policy = compiled({running});
  ASSERT_EQ(policy.unheld.size(), 1U);
  EXPECT_THAT(policy.unheld[0].why, HasSubstr("interface that is not found"));
  EXPECT_EQ(policy.unheld[0].cause, Cause::InterfaceNotFound);
}

// ---- guests elsewhere ----

class GuestsElsewhereTest : public PodEndpointsTest {
 protected:
  GuestsElsewhereTest() {
    desired_.cluster = true;
    desired_.workloads = {pod("web")};
  }
  void add(const std::string& name, const std::string& at, GuestPod facts = of_bob()) {
    facts.uid = name;
    desired_.elsewhere.push_back(pod(name, std::move(facts)));
    desired_.elsewhere.back().addresses = {address(at)};
  }
  CompiledPolicy compiled() const { return compile(desired_, node_, noon()); }
  // The Grant that an address is known by there; "" for none.
  std::string owner(int uplink_class, const std::string& at) const {
    for (const CompiledPrefix& each : compiled().prefixes)
      if (each.uplink_class == uplink_class && each.prefix == desired::prefix(at + "/32") &&
          each.identity.kind == IdentityName::Kind::Grant)
        return each.identity.name;
    return "";
  }
};

TEST_F(GuestsElsewhereTest, AreTheirGrantsOnOverlaysAndAsDestinationsOnly) {
  add("far", "10.42.1.5");
  EXPECT_EQ(owner(GRANTD_UPLINK_OVERLAY, "10.42.1.5"), "keystone-system/g");
  EXPECT_EQ(owner(GRANTD_UPLINK_DESTINATION, "10.42.1.5"), "keystone-system/g");
  EXPECT_EQ(owner(GRANTD_UPLINK_LAN, "10.42.1.5"), "");
  EXPECT_EQ(owner(GRANTD_UPLINK_TAILNET, "10.42.1.5"), "");
}

TEST_F(GuestsElsewhereTest, OfAnotherGrantTheyAreNobody) {
  desired_.grants.push_back(of_carol(grant("c", {})));
  GuestPod of_another = of_bob();
  of_another.realm = "carol";
  add("far", "10.42.1.5", of_another);
  EXPECT_EQ(owner(GRANTD_UPLINK_OVERLAY, "10.42.1.5"), "");
  add("doubtful", "10.42.1.6");
  desired_.elsewhere.back().quarantine = "its realm cannot be told";
  EXPECT_EQ(owner(GRANTD_UPLINK_OVERLAY, "10.42.1.6"), "");
}

TEST_F(GuestsElsewhereTest, AnAddressOutsideOfThePodRangesIsNobodys) {
  add("far", "192.168.1.77");
  EXPECT_EQ(owner(GRANTD_UPLINK_OVERLAY, "192.168.1.77"), "");
  EXPECT_THAT(compiled().problems.back().text(), HasSubstr("--pod-cidr"));
}

TEST_F(GuestsElsewhereTest, AnAddressOfTwoIsNobodysAndThatOfAGuestHereStaysItsOwn) {
  desired_.grants.push_back(of_carol(grant("c", {})));
  GuestPod of_another = of_bob();
  of_another.realm = "carol";
  add("one", "10.42.1.5");
  add("two", "10.42.1.5", of_another);
  EXPECT_EQ(owner(GRANTD_UPLINK_OVERLAY, "10.42.1.5"), "");
  add("thief", "10.42.0.7");
  EXPECT_EQ(owner(GRANTD_UPLINK_OVERLAY, "10.42.0.7"), "") << "a guest here does not come in from outside";
  EXPECT_EQ(owner(GRANTD_UPLINK_DESTINATION, "10.42.0.7"), "keystone-system/g");
}

TEST_F(GuestsElsewhereTest, OfACrowdAllAreNobodyAndThoseOfOthersStay) {
  desired_.grants.push_back(of_carol(grant("c", {})));
  GuestPod of_another = of_bob();
  of_another.realm = "carol";
  desired_.workloads.push_back(pod("other", of_another));
  add("few", "10.42.1.1", of_another);
  for (int at = 1; at <= 15; ++at) add("many-" + std::to_string(at), "10.42.2." + std::to_string(at));
  const auto owner_of = [](const CompiledPolicy& policy, const std::string& at) {
    std::string owner;
    for (const CompiledPrefix& each : policy.prefixes)
      if (each.uplink_class == GRANTD_UPLINK_OVERLAY && each.prefix == desired::prefix(at + "/32"))
        owner = each.identity.name;
    return owner;
  };
  Limits limits;
  limits.prefixes = 64;  // of which half is for 16 guests elsewhere
  const CompiledPolicy fits = compile(desired_, node_, noon(), limits);
  EXPECT_EQ(owner_of(fits, "10.42.2.15"), "keystone-system/g");
  EXPECT_EQ(fits.bounds[GRANTD_BOUND_REALM_PREFIXES].refused, 0U);
  add("many-16", "10.42.2.16");
  const CompiledPolicy policy = compile(desired_, node_, noon(), limits);
  EXPECT_FALSE(policy.prefixes_refused) << "Realms are not in want of room";
  for (int at = 1; at <= 16; ++at) EXPECT_EQ(owner_of(policy, "10.42.2." + std::to_string(at)), "");
  EXPECT_EQ(owner_of(policy, "10.42.1.1"), "keystone-system/c");
  EXPECT_EQ(policy.bounds[GRANTD_BOUND_REALM_PREFIXES].refused, 32U);
  EXPECT_EQ(policy.bounds[GRANTD_BOUND_REALM_PREFIXES].used, policy.prefixes.size());
  EXPECT_THAT(
      policy.problems.back().text(),
      HasSubstr("Grant keystone-system/g: \"16\": addresses of its guests on other nodes are more than there is "
                "room for; all of them are nobody on this node; accepted: at most 16"));
}

TEST_F(GuestsElsewhereTest, GrantsWithoutAGuestHereAreNotCompiled) {
  desired_.grants.push_back(of_carol(grant("c", {})));
  ASSERT_EQ(compiled().grants.size(), 1U);
  EXPECT_EQ(compiled().grants[0].key, "keystone-system/g");
  desired_.cluster = false;
  EXPECT_EQ(compiled().grants.size(), 2U);
  desired_.cluster = true;
  node_.pod_interfaces.clear();
  EXPECT_EQ(compiled().grants.size(), 1U) << "its guest is about to start";
}

}  // namespace
}  // namespace grantd
