// From what should be and what the kernel has to what people are told: real compile, plan and apply on a model kernel.
#include "agent/status/assess.h"

#include "agent/apply/applier.h"
#include "agent/compile/compile.h"
#include "agent/plan/in_force.h"
#include "agent/status/advice.h"
#include "agent/status/gaps.h"
#include "crd-sync/conflicts.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/model_kernel.h"

#include <gmock/gmock.h>

#include <cctype>
#include <functional>
#include <set>
#include <string>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr const char* kKey = "keystone-system/g";

PlanFacts plan_facts() {
  PlanFacts facts;
  facts.now = desired::noon().boot_now;
  facts.cpus = 2;
  for (const InterfaceFact& each : desired::node().interfaces) facts.interfaces.insert(each.ifindex);
  facts.slots = 16;
  facts.node = "node-a";
  return facts;
}

// A node with one Grant and one guest; each situation is what happened to it since.
class Node {
 public:
  Node() {
    desired_ = desired::world();
    Grant grant = desired::grant("g", {"198.51.100.0/24:443/TCP"});
    grant.egress_bps = 8'000'000;
    grant.head = {"uid-g", 3};
    desired_.grants = {grant};
    desired_.grant_heads[kKey] = grant.head;
    Workload pod = desired::workload("guest-bob/web", "g", "veth-a", {"10.42.0.9"});
    desired_.workloads = {pod};
    apply();
  }

  void apply() {
    compiled_ = compile(desired_, node_, time_, Limits{});
    EXPECT_TRUE(applier_.refresh(time_.boot_now).ok());
    const Plan next = plan(applier_.state(), compiled_, plan_facts());
    waiting_ = applier_.apply(next, time_.boot_now, [this] { return crowd_; }).postponed;
  }

  // As an agent would say it that said `before_` last.
  NodeStatus look() {
    EXPECT_TRUE(applier_.refresh(time_.boot_now).ok());
    snapshot_ = {};
    const KernelState& state = applier_.state();
    snapshot_.clock = {time_.boot_now, std::chrono::nanoseconds(time_.now.time_since_epoch()).count()};
    snapshot_.published = state.published;
    snapshot_.policies = state.policies;
    snapshot_.slot_names = state.slot_names;
    snapshot_.endpoints = state.endpoints;
    missing_ = plan(state, compiled_, plan_facts());
    before_ = assess(facts(), before_);
    return before_;
  }
  StatusFacts facts() {
    return {desired_, compiled_,     snapshot_, applier_.state().rule_sets, missing_, "node-a", "0.1.0",
            "tcx",    gate_missing_, waiting_};
  }
  std::vector<Occasion> told() { return occasions(facts(), before_); }

  Grant& grant() { return desired_.grants[0]; }
  // A newer version at the API server, which is no good; the one in force stays desired.
  void refuse_edit(const char* message) {
    desired_.grant_heads[kKey].generation = grant().head.generation + 1;
    desired_.problems.push_back(
        {Severity::Error, {}, std::string("Grant ") + kKey, "spec.granteeRealm", "eve", message, ""});
  }
  void others_come() {
    desired_.workloads.push_back(desired::workload("guest-bob/db", "g", "veth-b", {"10.42.0.10"}));
    desired_.workloads.push_back(desired::workload("guest-bob/cache", "g", "veth-c", {"10.42.0.11"}));
    crowd_ = true;
    apply();
  }
  void guests_leave() {
    desired_.cluster = true;
    desired_.workloads.clear();
    node_.in_force = in_force(applier_.state());
    apply();
  }

  DesiredState desired_;
  NodeFacts node_ = desired::node();
  TimeFacts time_ = desired::noon();
  CompiledPolicy compiled_;
  model::ModelKernel kernel_;
  Applier applier_{kernel_};
  Snapshot snapshot_;
  Plan missing_;
  std::string gate_missing_;
  bool crowd_ = false;  // no guest's turn comes
  std::set<std::string> waiting_;
  NodeStatus before_;
};

struct Situation {
  const char* what;
  std::function<void(Node&)> happens;
  ConditionState accepted, resolved, enforced;
  const char* enforced_reason;
  const char* message;  // part of what the status says in one line
  const char* events;   // reasons of what people are told
};

constexpr ConditionState kYes = ConditionState::True, kNo = ConditionState::False;

const Situation kSituations[] = {
    {"in force", [](Node&) {}, kYes, kYes, kYes, "InForce", "is in force; 1 guest's interface is held to it", ""},
    {"its guests have left lately", [](Node& node) { node.guests_leave(); }, kYes, kYes, kYes, "InForce",
     "is in force; no guest of it runs here", ""},
    {"an edit is refused", [](Node& node) { node.refuse_edit("is no good"); }, kNo, kYes, kNo, "OlderInForce",
     "eve: is no good; what was in force before stays", "GrantRefused "},
    {"an edit that revokes is refused",
     [](Node& node) {
       node.grant().revoked = true;  // as admission ends the older version
       node.refuse_edit("is no good");
       node.apply();
     },
     kNo, kYes, kNo, "OlderEnded", "eve: is no good; what was in force before has ended", "GrantRefused "},
    {"an edit names no Realm", [](Node& node) { node.refuse_edit(kNoSuchRealm); }, kNo, kNo, kNo, "OlderInForce",
     "there is no such Realm", "GrantRefused "},
    {"a program was taken away", [](Node& node) { node.kernel_.lose_attachments(10); }, kYes, kYes, kNo,
     "ProgramMissing", "the program for packets from the guest is not attached to interface 10", "NotEnforced "},
    {"guests wait for their turn", [](Node& node) { node.others_come(); }, kYes, kYes, kNo, "GuestsWait",
     "2 of its 3 guests' interfaces wait for their turn to be attached", "NotEnforced "},
    {"another program got before ours, and the guest waits for its turn beside others",
     [](Node& node) {
       node.kernel_.get_before({Hook::FromGuest, 10, 0});
       node.others_come();
     },
     kYes, kYes, kNo, "ProgramMissing", "the program for packets from the guest is not attached to interface 10",
     "NotEnforced "},
    {"the gate is missing", [](Node& node) { node.gate_missing_ = "no nf_tables"; }, kYes, kYes, kNo, "GateMissing",
     "what a guest sends past the programs may not be dropped: no nf_tables", "NotEnforced "},
    {"the gate is missing, behind which nobody is",
     [](Node& node) {
       node.gate_missing_ = "no nf_tables";
       node.guests_leave();
     },
     kYes, kYes, kYes, "InForce", "is in force; no guest of it runs here", ""},
    {"the new policy cannot be written",
     [](Node& node) {
       node.grant().egress_bps = 1'000'000;
       node.kernel_.fail("put_policy");
       node.apply();
     },
     kYes, kYes, kNo, "PolicyDiffers", "the policy in force is not the one that should be", "NotEnforced "},
    {"the Grant is gone and its policy is not",
     [](Node& node) {
       node.desired_.grants.clear();
       node.desired_.grant_heads.clear();
       node.kernel_.fail("publish");
       node.apply();
     },
     kNo, ConditionState::Unknown, kNo, "StillInForce", "the Grant is gone", ""},
    {"the grantee is nobody here",
     [](Node& node) {
       node.desired_.realms[1].addresses.clear();
       node.apply();
     },
     kYes, kNo, kYes, "InForce", "Realm bob has no address that this node believes", ""},
    {"it ends within a day",
     [](Node& node) {
       node.grant().valid_until = node.time_.now + 23h;
       node.apply();
     },
     kYes, kYes, kYes, "InForce", "is in force", "GrantExpiresSoon "},
    {"it ends in two days",
     [](Node& node) {
       node.grant().valid_until = node.time_.now + 48h;
       node.apply();
     },
     kYes, kYes, kYes, "InForce", "is in force", ""},
};

class Assess : public testing::TestWithParam<Situation> {};

TEST_P(Assess, Tells) {
  const Situation& situation = GetParam();
  SCOPED_TRACE(situation.what);
  Node node;
  const NodeStatus before = node.look();
  ASSERT_TRUE(before.grant(kKey) != nullptr && before.grant(kKey)->enforced);
  situation.happens(node);
  const NodeStatus now = node.look();
  const GrantStatus* grant = now.grant(kKey);
  ASSERT_NE(grant, nullptr);
  EXPECT_EQ(grant->condition("Accepted")->state, situation.accepted);
  EXPECT_EQ(grant->condition("RealmResolved")->state, situation.resolved);
  EXPECT_EQ(grant->condition("Enforced")->state, situation.enforced);
  EXPECT_EQ(grant->condition("Enforced")->reason, situation.enforced_reason);
  EXPECT_EQ(grant->enforced, situation.enforced == kYes);
  EXPECT_THAT(grant->message, HasSubstr(situation.message));
  EXPECT_EQ(has_broken(now, before), situation.enforced != kYes);
  std::string events;
  for (const Occasion& each : node.told()) {
    events += each.reason + " ";
    if (each.reason == "NotEnforced") {
      EXPECT_FALSE(grant->advice.empty());
      EXPECT_THAT(each.message, testing::EndsWith(". " + grant->advice + "."));
    }
  }
  EXPECT_EQ(events, situation.events);
}

INSTANTIATE_TEST_SUITE_P(Situations, Assess, testing::ValuesIn(kSituations));

struct Warned {
  const char* what;
  std::function<void(Node&)> happens;
  const char* reason;
  const char* message;  // the end of it
};

void warn(Node& node, const std::string& object, const std::string& also, const char* message) {
  node.desired_.problems.push_back({Severity::Warning, {}, object, "spec.f", "v", message, ""});
  node.desired_.problems.back().also = also;
}

const Warned kWarned[] = {
    {"nothing", [](Node&) {}, "Accepted", "this node can enforce it"},
    {"what a reader ignores", [](Node& node) { warn(node, std::string("Grant ") + kKey, "", "is ignored"); },
     "AcceptedWithWarnings", "this node can enforce it, but spec.f: v: is ignored"},
    {"what compile finds, and more",
     [](Node& node) {
       node.grant().dns_cluster = true;
       node.grant().destinations.own().push_back(desired::destination("service:a/b"));
     },
     "AcceptedWithWarnings",
     "[1]: service:a/b: services are not looked up; this entry opens nothing; and 1 more, which the log has"},
    {"a prefix of the grantee inside of another Realm", [](Node& node) { warn(node, "Realm bob", "Realm x", "lies"); },
     "AcceptedWithWarnings", "but Realm bob: spec.f: v: lies"},
    {"a prefix inside of both parties' Realms", [](Node& node) { warn(node, "Realm bob", "Realm alice", "lies"); },
     "AcceptedWithWarnings", "but Realm bob: spec.f: v: lies"},
    {"a prefix inside of the grantor's Realm", [](Node& node) { warn(node, "Realm x", "Realm alice", "lies"); },
     "AcceptedWithWarnings", "but Realm x: spec.f: v: lies"},
    {"what concerns others",
     [](Node& node) {
       warn(node, "Realm x", "Realm y", "lies");
       warn(node, "Grant keystone-system/other", "", "is ignored");
     },
     "Accepted", "this node can enforce it"},
};

class AssessAccepted : public testing::TestWithParam<Warned> {};

TEST_P(AssessAccepted, SaysWhatIsNotInForceOfIt) {
  SCOPED_TRACE(GetParam().what);
  Node node;
  GetParam().happens(node);
  node.apply();
  const NodeStatus status = node.look();
  ASSERT_NE(status.grant(kKey), nullptr);
  const Condition* accepted = status.grant(kKey)->condition("Accepted");
  EXPECT_EQ(accepted->state, ConditionState::True);
  EXPECT_EQ(accepted->reason, GetParam().reason);
  EXPECT_THAT(accepted->message, testing::EndsWith(GetParam().message));
  EXPECT_TRUE(status.grant(kKey)->enforced);
  EXPECT_TRUE(node.told().empty());
}

INSTANTIATE_TEST_SUITE_P(Warnings, AssessAccepted, testing::ValuesIn(kWarned));

TEST(AssessPolicy, IsReadBackAndKnowsItsVersion) {
  Node node;
  const GrantStatus good = *node.look().grant(kKey);
  EXPECT_EQ(good.generation, 3);
  ASSERT_TRUE(good.policy.has_value());
  EXPECT_EQ(good.policy->egress_bps, 8'000'000U);
  EXPECT_EQ(good.policy->ingress_bps, 0U);
  EXPECT_EQ(good.policy->phase, "Active");
  EXPECT_GT(good.policy->rules, 0U);
  node.refuse_edit("is no good");
  const GrantStatus older = *node.look().grant(kKey);
  EXPECT_EQ(older.policy_id, good.policy_id);
  EXPECT_EQ(older.generation, 3) << "what is in force comes from the older version";
  EXPECT_EQ(older.condition("Accepted")->generation, 4);
}

TEST(AssessPolicy, AfterTheEndThePhaseIsTheKernels) {
  Node node;
  node.grant().valid_until = node.time_.now + 60s;
  node.apply();
  EXPECT_EQ(node.look().grant(kKey)->policy->phase, "Active");
  node.time_.boot_now += 61 * GRANTD_NS_PER_SECOND;  // nobody compiled since
  EXPECT_EQ(node.look().grant(kKey)->policy->phase, "Expired");
}

TEST(AssessGuests, QuarantineSaysWhyOnThePod) {
  Node node;
  node.desired_.grants.clear();
  node.desired_.grant_heads.clear();
  node.desired_.workloads[0].pod = GuestPod{};
  node.desired_.workloads[0].pod->uid = "uid-web";
  node.desired_.workloads[0].pod->realm = "bob";
  node.desired_.workloads[0].grant.clear();
  node.desired_.workloads[0].interface.clear();
  node.node_.pod_interfaces["uid-web"] = {{10, {desired::address("10.42.0.9")}, ""}};
  node.apply();
  const NodeStatus status = node.look();
  ASSERT_EQ(status.quarantined.size(), 1U);
  EXPECT_EQ(status.quarantined[0].guest, "guest-bob/web");
  const auto told = node.told();
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].reason, "Quarantined");
  EXPECT_EQ(told[0].about.uid, "uid-web");
  EXPECT_EQ(told[0].about.namespace_name, "guest-bob");
  EXPECT_THAT(told[0].message, HasSubstr("realm bob has no Grant"));
}

struct Reason {
  const char* what;
  std::function<void(Node&)> happens;
  Cause cause;
  const char* event;
};

GuestPod& pod(Node& node) { return *node.desired_.workloads[0].pod; }

const Reason kReasons[] = {
    {"no Grant", [](Node& node) { node.desired_.grants.clear(); }, Cause::NoGrant, "Quarantined"},
    {"two Grants", [](Node& node) { node.desired_.grants.push_back(desired::grant("second", {})); },
     Cause::SeveralGrants, "Quarantined"},
    {"a label names none", [](Node& node) { pod(node).namespace_grant = "none"; }, Cause::GrantNotOfRealm,
     "Quarantined"},
    {"a selector leaves it out",
     [](Node& node) {
       node.grant().pod_selector = {{"tier", LabelRequirement::Operator::In, {"web"}}};
     },
     Cause::GrantLeavesItOut, "Quarantined"},
    {"a label names one that has ended",
     [](Node& node) {
       node.grant().revoked = true;
       pod(node).own_grant = "g";
     },
     Cause::GrantNotActive, "Quarantined"},
    {"its realm cannot be told",
     [](Node& node) {
       node.desired_.workloads[0].quarantine = "its realm cannot be told";
       node.desired_.workloads[0].cause = Cause::RealmUnclear;
     },
     Cause::RealmUnclear, "Quarantined"},
    {"its labels are too many",
     [](Node& node) {
       node.desired_.workloads[0].quarantine = "its labels are more than 256";
       node.desired_.workloads[0].cause = Cause::LabelsUnclear;
     },
     Cause::LabelsUnclear, "Quarantined"},
    {"its interface is not as recorded",
     [](Node& node) { node.node_.pod_interfaces["uid-web"][0].doubt = "it has another address"; }, Cause::NotAsRecorded,
     "Quarantined"},
    {"the API server says another address",
     [](Node& node) { node.desired_.workloads[0].addresses = {desired::address("10.42.0.99")}; }, Cause::NotAsRecorded,
     "Quarantined"},
    {"its MAC is not known", [](Node& node) { node.node_.interfaces[0].peer_mac.reset(); }, Cause::MacUnknown,
     "Quarantined"},
    {"its address is the node's",
     [](Node& node) {
       node.node_.pod_interfaces["uid-web"][0].addresses = {desired::address("192.168.1.5")};
       node.desired_.workloads[0].addresses.clear();
     },
     Cause::AddressOfNode, "Quarantined"},
    {"another guest has its address",
     [](Node& node) {
       node.node_.pod_interfaces["uid-other"] = {{11, {desired::address("10.42.0.9")}, ""}};
       Workload other = node.desired_.workloads[0];
       other.name = "guest-bob/other";
       other.pod->uid = "uid-other";
       node.desired_.workloads.push_back(other);
     },
     Cause::AddressShared, "Quarantined"},
    {"the clock is not trusted",
     [](Node& node) {
       node.grant().valid_until = node.time_.now + 48h;
       node.time_.trusted = false;
     },
     Cause::ClockNotTrusted, "Quarantined"},
    {"its interface is not found", [](Node& node) { node.node_.pod_interfaces.clear(); }, Cause::InterfaceNotFound,
     "NotEnforced"},
    {"it is on the host's network", [](Node& node) { pod(node).host_network = true; }, Cause::HostNetwork,
     "NotEnforced"},
    {"it is on the host's network, in a cgroup",
     [](Node& node) {
       pod(node).host_network = true;
       node.node_.pod_cgroups["uid-web"] = 4711;
     },
     Cause::HostNetwork, "NotEnforced"},
};

class EventOfAPod : public testing::TestWithParam<Reason> {};

TEST_P(EventOfAPod, SaysWhatToDo) {
  SCOPED_TRACE(GetParam().what);
  Node node;
  Workload& web = node.desired_.workloads[0];
  web = Workload{};
  web.name = "guest-bob/web";
  web.addresses = {desired::address("10.42.0.9")};
  web.pod.emplace();
  web.pod->uid = "uid-web";
  web.pod->realm = "bob";
  node.node_.pod_interfaces["uid-web"] = {{10, {desired::address("10.42.0.9")}, ""}};
  node.apply();
  node.look();
  ASSERT_TRUE(node.told().empty()) << "before anything happens";
  GetParam().happens(node);
  node.apply();
  node.look();
  bool told = false;
  for (const Occasion& each : node.told()) {
    if (each.about.uid != "uid-web") continue;
    told = true;
    EXPECT_EQ(each.reason, GetParam().event);
    EXPECT_THAT(each.message, testing::EndsWith(std::string(". ") + advice(GetParam().cause) + "."));
  }
  EXPECT_TRUE(told);
}

INSTANTIATE_TEST_SUITE_P(Reasons, EventOfAPod, testing::ValuesIn(kReasons));

TEST(Advice, IsThereForEachCause) {
  std::set<std::string> all;
  const auto is_a_sentence = [&all](const std::string& text) {
    ASSERT_FALSE(text.empty());
    EXPECT_TRUE(std::isupper(text.front())) << text;
    EXPECT_NE(text.back(), '.') << text;
    EXPECT_LE(text.size(), 300U) << text;
    all.insert(text);
  };
  for (int cause = 1; cause < kCauses; ++cause) is_a_sentence(advice(static_cast<Cause>(cause)));
  EXPECT_EQ(all.size(), static_cast<std::size_t>(kCauses - 1)) << "each of its own";
  for (int gap = 0; gap < kGapKinds; ++gap) is_a_sentence(advice(static_cast<GapKind>(gap)));
  EXPECT_STREQ(advice(Cause::None), "");
}

// A Grant that is not enforced says so, and what to do, also where a text is as long as it may be.
TEST(Advice, IsNotCutOff) {
  Node node;
  node.look();
  node.kernel_.lose_attachments(10);
  NodeStatus status = node.look();
  ASSERT_EQ(status.grants.size(), 1U);
  status.grants[0].conditions[2].message = std::string(900, 'm');
  const auto told = occasions(node.facts(), status);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_LE(told[0].message.size(), 1000U);
  EXPECT_THAT(told[0].message, testing::EndsWith(std::string(advice(GapKind::ProgramMissing)) + "."));
}

TEST(Gaps, NamesForPeopleAreNone) {
  Plan plan;
  plan.steps.push_back({operation::PutSlotName{1, grantd_slotname{}}, grant_subject(kKey)});
  plan.steps.push_back({operation::RemovePolicy{7}, grant_subject(kKey)});
  const Gaps gaps = gaps_of(plan);
  EXPECT_TRUE(gaps.by_subject.empty() && gaps.by_slot.empty() && gaps.of_node.empty());
}

}  // namespace
}  // namespace grantd
