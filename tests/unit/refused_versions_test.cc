// What counts of a version that is refused: its Grant ends, its guest is closed.
#include "agent/compile/compile.h"
#include "agent/compile/validity.h"
#include "tests/unit/admission_fixture.h"
#include "tests/unit/desired_samples.h"

#include <utility>

namespace grantd {
namespace {

using std::chrono::hours;
using std::chrono::seconds;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

const WallTime kNoon = desired::noon().now;  // 2027-01-15T08:00:00Z

class RefusedVersionsTest : public AdmissionTest {
 protected:
  static std::string with_grant(const std::string& spec) { return kAlice + kBob + grant_text("bob", "bob-home", spec); }
  const Grant& grant() const { return desired_.grants.at(0); }
  CompiledPolicy compiled(const TimeFacts& time = desired::noon()) const {
    return compile(desired_, desired::node(), time);
  }
  CompiledGrant compiled_grant(const TimeFacts& time = desired::noon()) const { return compiled(time).grants.at(0); }

  const std::string good_ = "networkPolicy: {egressAllowed: true, allowedDestinations: [internet]}";
  const std::string wrong_ = "hard: 7";
};

TEST_F(RefusedVersionsTest, ARevocationBesideAnyMistakeHoldsAtOnce) {
  const std::string mistakes[] = {
      "revocation: {noticePeriodSeconds: \"3600\"}",
      "revocation: {noticePeriodSeconds: 3600}, networkPolicy: {allowedDestinations: [198.51.100.1/24]}",
      "networkPolicy: {egressAllowed: true, allowedDestinations: [\"realm:nobody\"]}",
      "networkPolicy: {egressAllowed: true, allowedDestinations: [internet], ports: 1}",
      "validity: {validUntil: tomorrow}",
      "validity: []",
      "grantorRealm: bob-home",  // twice
      wrong_};
  for (const std::string& mistake : mistakes) {
    last_good_.clear();
    load(with_grant(good_));
    ASSERT_THAT(errors(), IsEmpty());
    load(with_grant(mistake));
    ASSERT_THAT(errors(), Not(IsEmpty())) << mistake;
    EXPECT_FALSE(grant().revoked) << "the control: " << mistake;
    EXPECT_EQ(compiled_grant().phase, GRANTD_PHASE_ACTIVE);
    load(with_grant(mistake + ", revoked: true"));
    EXPECT_THAT(errors(), Not(IsEmpty())) << mistake;
    EXPECT_THAT(warnings(),
                Contains(HasSubstr("Grant keystone-system/bob: stays as it was last good, and is revoked")));
    EXPECT_TRUE(grant().revoked) << mistake;
    EXPECT_EQ(grant().notice_period, seconds(0)) << mistake;
    EXPECT_EQ(compiled_grant().phase, GRANTD_PHASE_REVOKED) << mistake;
    EXPECT_EQ(compiled_grant().not_after, 1U) << mistake;
    EXPECT_EQ(compiled_grant().end_reason, GRANTD_REASON_REVOKED) << mistake;
  }
}

TEST_F(RefusedVersionsTest, ARevocationBesideAChangeOfRealmsHolds) {
  const std::string carol = realm_text("carol", "203.0.113.0/24");
  load(carol + with_grant(good_));
  load(carol + kAlice + kBob + grant_text("bob", "carol", "revoked: true"));
  EXPECT_EQ(standing()["bob"], "bob-home revoked");
}

TEST_F(RefusedVersionsTest, TheWordForARevocationMayBeTheMistake) {
  const std::string words[] = {"revoked: \"true\"", "revoked: True", "revoked: yes", "revoked: false, revoked: true"};
  for (const std::string& word : words) {
    last_good_.clear();
    load(with_grant(good_));
    load(with_grant(word));
    ASSERT_THAT(errors(), Not(IsEmpty())) << word;
    EXPECT_TRUE(grant().revoked) << word;
  }
  last_good_.clear();
  load(with_grant(good_));
  for (const char* word : {"revoked: maybe", "revoked: \"false\"", "revoked: [true]", "revoked: {}"}) {
    load(with_grant(word));
    ASSERT_THAT(errors(), Not(IsEmpty())) << word;
    EXPECT_FALSE(grant().revoked) << word;
  }
}

// Each load here is one after a restart too: the fixture keeps only what is on disk.
TEST_F(RefusedVersionsTest, NoRefusedVersionTakesARevocationBack) {
  load(with_grant(good_));
  const std::string hash = grant().spec_hash;
  load(with_grant(wrong_ + ", revoked: true"));
  ASSERT_TRUE(grant().revoked);
  load(with_grant(wrong_ + ", revoked: false"));
  EXPECT_TRUE(grant().revoked) << "another refused version";
  load("'");
  EXPECT_TRUE(grant().revoked) << "a file that does not parse";
  load(with_grant(good_));
  EXPECT_THAT(desired_.problems, IsEmpty());
  EXPECT_FALSE(grant().revoked) << "mended";
  EXPECT_EQ(grant().spec_hash, hash);
}

TEST_F(RefusedVersionsTest, OfAFileThatDoesNotParseNothingIsKnown) {
  load(with_grant(good_));
  load(with_grant("revoked: true") + "'");
  ASSERT_THAT(errors(), SizeIs(1));
  EXPECT_FALSE(grant().revoked);
}

TEST_F(RefusedVersionsTest, WhatStandsKeepsItsRulesAndItsLines) {
  const std::string lines =
      kAlice + kBob +
      grant_text("bob", "bob-home",
                 "networkPolicy: {\n\n  egressAllowed: true,\n  allowedDestinations: [internet]},\n"
                 "  validity: {\n    validUntil: \"2027-02-01T00:00:00Z\"}");
  load(lines);
  const auto line = grant().destinations.at(0).position.line;
  const CompiledGrant before = compiled_grant();
  load(with_grant(wrong_ + ", validity: {validUntil: \"2027-01-20T00:00:00Z\"}"));
  EXPECT_EQ(grant().destinations.at(0).position.line, line);
  EXPECT_EQ(compiled_grant().rules, before.rules);
  EXPECT_EQ(compiled_grant().identity_rules, before.identity_rules);
}

TEST_F(RefusedVersionsTest, AGrantEndsNoLaterThanARefusedVersionSays) {
  const auto until = [](const std::string& time) { return "validity: {validUntil: \"" + time + "\"}"; };
  load(with_grant(good_));
  load(with_grant(wrong_ + ", " + until("2027-01-15T10:00:00Z")));
  ASSERT_THAT(errors(), SizeIs(1));
  EXPECT_EQ(grant().valid_until, kNoon + hours(2));
  EXPECT_THAT(warnings(), Contains(HasSubstr("stays in force as it was last good, until 2027-01-15T10:00:00Z")));
  const TimeFacts now = desired::noon();
  EXPECT_EQ(compiled_grant().not_after, now.boot_now + 7200 * GRANTD_NS_PER_SECOND);
  for (const std::string& later :
       {until("2027-01-15T11:00:00Z"), std::string("revoked: false"), std::string("validity: {}")}) {
    load(with_grant(wrong_ + ", " + later));
    EXPECT_EQ(grant().valid_until, kNoon + hours(2)) << later;
  }
  load(with_grant(wrong_ + ", " + until("2027-01-15T09:00:00.5Z")));
  EXPECT_EQ(grant().valid_until, kNoon + hours(1) + std::chrono::milliseconds(500));
  load(with_grant(until("2027-01-15T11:00:00Z")));
  EXPECT_THAT(desired_.problems, IsEmpty());
  EXPECT_EQ(grant().valid_until, kNoon + hours(3)) << "mended";
}

// Latches go by the spec: what is in force until then is another one than what is back once the mistake is mended.
TEST_F(RefusedVersionsTest, AnEndByARefusedVersionThatHasPassedIsOverOnceItIsMended) {
  load(with_grant(good_));
  load(with_grant(wrong_ + ", validity: {validUntil: \"2027-01-15T07:00:00Z\"}"));
  TimeFacts time = latch(desired::noon(), desired_.grants);
  EXPECT_EQ(compiled_grant(time).phase, GRANTD_PHASE_EXPIRED);
  time = latch(time, desired_.grants);
  load(with_grant(good_));
  time = latch(time, desired_.grants);
  EXPECT_EQ(compiled_grant(time).phase, GRANTD_PHASE_ACTIVE);
}

TEST_F(RefusedVersionsTest, AnEndBeforeItsBeginLeavesNothing) {
  load(with_grant("validity: {validFrom: \"2027-02-01T00:00:00Z\", validUntil: \"2027-03-01T00:00:00Z\"}"));
  load(with_grant(wrong_ + ", validity: {validUntil: \"2027-01-20T00:00:00Z\"}"));
  EXPECT_EQ(compiled_grant().not_after, 1U);
  EXPECT_THAT(last_good_, SizeIs(3)) << "and can be read again";
  load("'");
  EXPECT_EQ(compiled_grant().not_after, 1U);
}

TEST_F(RefusedVersionsTest, ANoticeThatRunsGoesOnAndMayBecomeShorter) {
  const auto revoked = [](const std::string& seconds) {
    return "revoked: true, revocation: {noticePeriodSeconds: " + seconds + "}";
  };
  load(with_grant(revoked("3600")));
  load(with_grant(wrong_ + ", " + revoked("\"x\"")));
  EXPECT_EQ(grant().notice_period, seconds(3600)) << "it cannot be told";
  load(with_grant(wrong_ + ", " + revoked("7200")));
  EXPECT_EQ(grant().notice_period, seconds(3600));
  load(with_grant(wrong_ + ", " + revoked("60")));
  EXPECT_EQ(grant().notice_period, seconds(60));
  load(with_grant(wrong_ + ", revoked: true"));
  EXPECT_EQ(grant().notice_period, seconds(0));
}

TEST_F(RefusedVersionsTest, OfVersionsThatAreThereTwiceTheEarliestEndHolds) {
  load(with_grant(good_));
  files_["b.yaml"] = grant_text("bob", "bob-home", "revoked: true");
  load();
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("is there more than once")));
  EXPECT_TRUE(grant().revoked);
}

TEST_F(RefusedVersionsTest, AGrantThatWasNeverGoodIsNotThere) {
  load(with_grant(wrong_ + ", revoked: true"));
  EXPECT_THAT(desired_.grants, IsEmpty());
}

// Of one that is revoked no destination is left that could be too much.
TEST_F(RefusedVersionsTest, WhatCompileRefusedEndsToo) {
  std::string ports;
  for (int port = 1; port < 40; port += 2)
    ports += (port > 1 ? ", " : "") + ("\"192.0.2.1:" + std::to_string(port) + "\"");
  load(with_grant("networkPolicy: {egressAllowed: true, allowedDestinations: [" + ports + "]}"));
  ASSERT_THAT(errors(), IsEmpty());
  ASSERT_THAT(compiled().refused, SizeIs(1));
  load(with_grant(wrong_ + ", revoked: true"));
  EXPECT_THAT(compiled().refused, IsEmpty());
  EXPECT_EQ(compiled_grant().not_after, 1U);
}

// Workloads: veth-a, veth-b and veth-c are there, and eth0, an uplink.
class RefusedGuestsTest : public RefusedVersionsTest {
 protected:
  std::string base() const { return with_grant(good_); }
  std::map<std::string, std::string> endpoints() const {
    std::map<std::string, std::string> all;  // by interface
    for (const CompiledEndpoint& each : compiled().endpoints)
      all[each.interface] = each.grant.empty() ? "closed: " + each.quarantine : each.grant;
    return all;
  }
  std::vector<std::string> problems() const {
    std::vector<std::string> all;
    for (const Problem& each : compiled().problems) all.push_back(each.text());
    return all;
  }
};

TEST_F(RefusedGuestsTest, AWorkloadWithAMistakeClosesItsGuest) {
  load(base() + workload_text("web", "veth-a", "10.20.0.2/24"));
  EXPECT_THAT(last_good_, SizeIs(3)) << "it is no good version";
  const CompiledPolicy policy = compiled();
  ASSERT_THAT(policy.endpoints, SizeIs(1));
  const CompiledEndpoint& web = policy.endpoints[0];
  EXPECT_EQ(web.guest, "web");
  EXPECT_EQ(web.ifindex, 10U);
  EXPECT_EQ(web.grant, "");
  EXPECT_EQ(web.cause, Cause::WorkloadRefused);
  EXPECT_THAT(web.quarantine, HasSubstr("its Workload is refused: spec.addresses[0]: \"10.20.0.2/24\""));
  EXPECT_THAT(web.addresses, IsEmpty());
  EXPECT_EQ(web.position.line, desired_.workloads.at(0).position.line);
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr("a.yaml:"), HasSubstr("Workload web: spec.interface: \"veth-a\""),
                                         HasSubstr("the guest is in quarantine: nothing passes"))));
  load(base() + workload_text("web", "veth-a", "10.20.0.2"));
  EXPECT_EQ(endpoints(), (std::map<std::string, std::string>{{"veth-a", "keystone-system/bob"}}));
  EXPECT_THAT(problems(), IsEmpty());
}

TEST_F(RefusedGuestsTest, AnyMistakeDoesAsLongAsTheInterfaceCanBeRead) {
  const std::string head = "---\napiVersion: keystone.io/v1alpha1\nkind: Workload\nmetadata: {name: web}\n";
  for (const std::string& text :
       {head + "spec: {interface: veth-a}\n",
        head + "spec: {grantName: bob, interface: \"veth-a\", mac: x, cgroup: /}\n",
        head + "spec: {interface: veth-a, interface: veth-a}\n", head + "spec: {interface: veth-a}\nspec: {}\n",
        head + "spec: {interface: veth-a}\nextra: 1\n",
        std::string("---\napiVersion: keystone.io/v2\nkind: Workload\nmetadata: {name: web}\n"
                    "spec: {interface: veth-a}\n"),
        std::string("---\napiVersion: keystone.io/v1alpha1\nkind: Workload\nmetadata: {nmae: web}\n"
                    "spec: {interface: veth-a}\n"),
        std::string("---\napiVersion: keystone.io/v1alpha1\nkind: Workload\nspec: {interface: veth-a}\n")}) {
    load(base() + text);
    EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", HasSubstr("closed: its Workload is refused: "))))
        << text;
  }
}

TEST_F(RefusedGuestsTest, AGuestOfWhichTheKernelTellsNothingIsClosedForThatReason) {
  load(base() + workload_text("web", "veth-a", "10.20.0.2/24"));
  NodeFacts node = desired::node();
  node.interfaces[0].peer_mac.reset();
  const CompiledPolicy policy = compile(desired_, node, desired::noon());
  EXPECT_EQ(policy.endpoints.at(0).cause, Cause::WorkloadRefused);
}

TEST_F(RefusedGuestsTest, TwoWithOneAddressAreBothClosed) {
  load(base() + workload_text("web", "veth-a", "10.20.0.2") + workload_text("db", "veth-b", "10.20.0.2"));
  EXPECT_THAT(errors(), SizeIs(1));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", HasSubstr("is also Workload db's")),
                                       testing::Pair("veth-b", HasSubstr("closed: its Workload is refused: "))));
  // Who was there before stays, and its address is nobody else's.
  load(base() + workload_text("web", "veth-a", "10.20.0.2"));
  load(base() + workload_text("web", "veth-a", "10.20.0.2") + workload_text("db", "veth-b", "10.20.0.2"));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", "keystone-system/bob"),
                                       testing::Pair("veth-b", HasSubstr("is also Workload web's"))));
}

TEST_F(RefusedGuestsTest, TwoWithOneInterfaceCloseItOnce) {
  load(base() + workload_text("web", "veth-a", "10.20.0.2") + workload_text("db", "veth-a", "10.20.0.3"));
  EXPECT_THAT(compiled().endpoints, SizeIs(1));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", HasSubstr("spec.interface: \"veth-a\": is also"))));
  load(base() + workload_text("web", "veth-a", "10.20.0.2"));
  load(base() + workload_text("web", "veth-a", "10.20.0.2") + workload_text("db", "veth-a", "10.20.0.3"));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", "keystone-system/bob"))) << "it was there before";
}

TEST_F(RefusedGuestsTest, TwoWithOneNameAreBothClosed) {
  load(base() + workload_text("web", "veth-a", "10.20.0.2") + workload_text("web", "veth-b", "10.20.0.3"));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", HasSubstr("is there more than once")),
                                       testing::Pair("veth-b", HasSubstr("is there more than once"))));
}

TEST_F(RefusedGuestsTest, WhatWasInForceStaysAndTheInterfaceItDidNotHaveIsClosed) {
  load(base() + workload_text("web", "veth-a", "10.20.0.2"));
  load(base() + workload_text("web", "veth-a", "10.20.0.2/24"));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", "keystone-system/bob")));
  load(base() + workload_text("web", "veth-b", "10.20.0.2/24"));
  EXPECT_THAT(endpoints(), ElementsAre(testing::Pair("veth-a", "keystone-system/bob"),
                                       testing::Pair("veth-b", HasSubstr("closed: "))));
}

TEST_F(RefusedGuestsTest, LoopbackAndUplinksAreNoGuestsAndThatIsSaid) {
  for (const char* address : {"10.20.0.2", "10.20.0.2/24"}) {
    last_good_.clear();
    load(base() + workload_text("web", "eth0", address));
    EXPECT_THAT(compiled().endpoints, IsEmpty());
    EXPECT_THAT(problems(), Contains(HasSubstr("is an uplink of this node, which cannot be closed: nothing holds")));
  }
  for (const char* name : {"lo", "\"veth a\"", "[veth-a]"}) {
    last_good_.clear();
    load(base() + workload_text("web", name, "10.20.0.2"));
    EXPECT_THAT(desired_.workloads, IsEmpty()) << name;
    EXPECT_THAT(warnings(), Contains(HasSubstr("Workload web: spec.interface: names no interface that can be closed")));
  }
}

TEST_F(RefusedGuestsTest, OfAFileThatDoesNotParseNothingIsKnown) {
  files_ = {{"a.yaml", base()}, {"b.yaml", workload_text("web", "veth-a", "10.20.0.2/24") + "'"}};
  load();
  EXPECT_THAT(desired_.workloads, IsEmpty());
}

std::string without_separators(std::string text) {
  for (auto at = text.find("---\n"); at != std::string::npos; at = text.find("---\n")) text.erase(at, 4);
  return text;
}

// As where the line between them is lost, or two files are joined without one.
TEST_F(AdmissionTest, OfObjectsThatRanIntoEachOtherAllStay) {
  const std::string all = kAlice + kBob + grant_text("g", "bob-home");
  load(all);
  const Standing before = standing();
  ASSERT_EQ(before.size(), 3U);
  load(without_separators(all));
  EXPECT_THAT(errors(), Contains(HasSubstr("is there twice")));
  EXPECT_EQ(standing(), before);
  load(kAlice + kBob);
  EXPECT_EQ(standing().size(), 2U) << "the control: what is not there any more";
}

TEST_F(AdmissionTest, WhereALineBetweenTwoObjectsMayBeMissingThatIsSaid) {
  const auto hint = HasSubstr("a line --- between two objects");
  load(without_separators(kAlice + kBob));
  for (const char* key : {"apiVersion", "kind", "metadata", "spec"})
    EXPECT_THAT(errors(), Contains(AllOf(HasSubstr(std::string(": ") + key + ": is there twice"), hint)));
  load(grant_text("g", "bob-home", "revoked: false, revoked: true") + "status: {}\nstatus: {}\n");
  EXPECT_THAT(errors(), Contains(HasSubstr("spec.revoked: is there twice; accepted: each field once")));
  EXPECT_THAT(errors(), Contains(HasSubstr("status: is there twice; accepted: each field once")));
  EXPECT_THAT(errors(), Not(Contains(hint)));
  const std::string item =
      "{apiVersion: keystone.io/v1alpha1, kind: Realm, kind: Realm, metadata: {name: a}, spec: {}}";
  load("apiVersion: v1\nkind: List\nitems: [" + item + "]\n");
  EXPECT_THAT(errors(), Contains(HasSubstr("items[0].kind: is there twice")));
  EXPECT_THAT(errors(), Not(Contains(hint))) << "in a list no such line stands between them";
}

TEST_F(AdmissionTest, OfAListWithMoreThanOneOfItemsAllStay) {
  const auto list = [](const std::string& object) {
    return "items:\n- " + std::string("{apiVersion: keystone.io/v1alpha1, kind: Realm, metadata: {name: ") + object +
           "}, spec: {identity: " + object + "}}\n";
  };
  const std::string head = "apiVersion: v1\nkind: List\n";
  load(head + list("alice") + "---\n" + head + list("bob-home"));
  const Standing before = standing();
  ASSERT_EQ(before.size(), 2U);
  load(head + list("alice") + head + list("bob-home"));
  EXPECT_THAT(errors(), Contains(HasSubstr("items: is there twice")));
  EXPECT_EQ(standing(), before);
}

}  // namespace
}  // namespace grantd
