#include "tests/unit/admission_fixture.h"

namespace grantd {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

TEST_F(AdmissionTest, TakesWhatIsGoodAndSortsIt) {
  load(workload_text("web", "veth-bob", "10.0.0.1") + grant_text("bob", "bob-home") + kBob + kAlice);
  EXPECT_THAT(errors(), IsEmpty());
  EXPECT_THAT(warnings(), IsEmpty());
  ASSERT_EQ(desired_.realms.size(), 2u);
  EXPECT_EQ(desired_.realms[0].name, "alice");
  EXPECT_EQ(
      standing(),
      (Standing{{"alice", "192.0.2.0/24"}, {"bob-home", "198.51.100.0/24"}, {"bob", "bob-home"}, {"web", "veth-bob"}}));
}

TEST_F(AdmissionTest, ARealmInAProtectedRangeIsRefusedAndItsLastGoodVersionStays) {
  protected_ranges_ = {IpPrefix::parse("10.42.0.0/16").value(), IpPrefix::parse("10.43.0.0/16").value()};
  const std::string grant = grant_text("bob", "bob-home");
  load(kAlice + kBob + grant);
  EXPECT_THAT(errors(), IsEmpty());
  const Standing before = standing();
  for (const char* wrong : {"10.43.7.0/24", "10.0.0.0/8"}) {
    load(kAlice + realm_text("bob-home", wrong) + grant);
    EXPECT_THAT(errors(), ElementsAre(AllOf(HasSubstr("Realm bob-home"), HasSubstr("spec.addresses[0]"),
                                            HasSubstr(wrong), HasSubstr("overlaps the protected range 10.4"))));
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("stays in force as it was last good")));
    EXPECT_EQ(standing(), before);
  }
  // What was good before the ranges of the node were others is no better than a new one.
  protected_ranges_.push_back(IpPrefix::parse("198.51.0.0/16").value());
  load();
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
}

TEST_F(AdmissionTest, ANameThatAnotherObjectHasLeavesBothAsTheyWere) {
  load(kAlice + kBob);
  const Standing before = standing();
  load(kAlice + realm_text("alice", "198.51.100.0/24"));  // bob-home, by a wrong name
  EXPECT_EQ(errors().size(), 1U);
  EXPECT_EQ(standing(), before);
  load(kAlice);
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
}

TEST_F(AdmissionTest, ItDoesSoInWhicheverFileItStands) {
  for (const bool first : {false, true}) {
    SCOPED_TRACE(first);
    const std::string bobs = first ? "a.yaml" : "z.yaml";
    last_good_.clear();
    files_ = {{"m.yaml", kAlice}, {bobs, kBob}};
    load();
    const Standing before = standing();
    for (const char* addresses : {"198.51.100.0/24", "198.51.100.1/24"}) {  // a mistake beside the wrong name, too
      files_[bobs] = realm_text("alice", addresses);
      load();
      EXPECT_EQ(standing(), before) << addresses;
    }
    files_[bobs] = "# gone\n";
    load();
    EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
  }
}

TEST_F(AdmissionTest, ABadObjectLeavesItsLastGoodVersionAndTheOthers) {
  load(kAlice + kBob);
  load(kAlice + realm_text("bob-home", "198.51.100.1/24") + realm_text("carol", "203.0.113.0/24"));
  EXPECT_EQ(standing(),
            (Standing{{"alice", "192.0.2.0/24"}, {"bob-home", "198.51.100.0/24"}, {"carol", "203.0.113.0/24"}}));
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("198.51.100.1/24")));
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("Realm bob-home: stays in force as it was last good")));
  load(kAlice + kBob);
  EXPECT_THAT(desired_.problems, IsEmpty());
}

TEST_F(AdmissionTest, ABadObjectThatWasNeverGoodIsLeftOut) {
  load(kAlice + realm_text("bob-home", "198.51.100.1/24"));
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
}

TEST_F(AdmissionTest, AFileThatDoesNotParseKeepsAllItHad) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", kBob + realm_text("carol", "203.0.113.0/24")}};
  load();
  files_["b.yaml"] = realm_text("bob-home", "198.51.100.0/25") + "\"";
  load();
  EXPECT_EQ(standing(),
            (Standing{{"alice", "192.0.2.0/24"}, {"bob-home", "198.51.100.0/24"}, {"carol", "203.0.113.0/24"}}));
  EXPECT_EQ(errors().size(), 1u);
  files_["b.yaml"] = "# nothing any more\n";
  load();
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
  EXPECT_THAT(desired_.problems, IsEmpty());
}

TEST_F(AdmissionTest, AnObjectWhoseNameCannotBeReadIsNotTakenForDeleted) {
  load(kAlice + kBob);
  std::string mistyped = kBob;
  mistyped.replace(mistyped.find("name:"), 5, "nmae:");
  load(kAlice + mistyped);
  EXPECT_EQ(standing().count("bob-home"), 1u);
  mistyped = kBob;
  mistyped.replace(mistyped.find("Realm"), 5, "Relam");
  load(kAlice + mistyped);
  EXPECT_EQ(standing().count("bob-home"), 1u);
}

TEST_F(AdmissionTest, DeletingTakesEffect) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", kBob}};
  load();
  files_.erase("b.yaml");
  load();
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
  EXPECT_THAT(desired_.problems, IsEmpty());
  EXPECT_EQ(last_good_.size(), 1u);
}

TEST_F(AdmissionTest, AnObjectMayMoveToAnotherFile) {
  files_ = {{"a.yaml", kAlice}, {"b.yaml", kBob}};
  load();
  files_ = {{"a.yaml", kAlice + kBob}, {"b.yaml", "'"}};
  load();
  EXPECT_EQ(standing().size(), 2u);
  EXPECT_EQ(errors().size(), 1u);  // of b.yaml alone
}

TEST_F(AdmissionTest, TheSameNameTwiceRefusesBoth) {
  files_ = {{"a.yaml", kBob}, {"b.yaml", realm_text("bob-home", "203.0.113.0/24")}};
  load();
  EXPECT_THAT(standing(), IsEmpty());
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("more than once, first in a.yaml:2")));
  files_.erase("b.yaml");
  load();
  files_["b.yaml"] = realm_text("bob-home", "203.0.113.0/24");
  load();
  EXPECT_EQ(standing(), (Standing{{"bob-home", "198.51.100.0/24"}}));
  // Also where the other one has errors, and whichever of them it was.
  files_ = {{"a.yaml", realm_text("bob-home", "203.0.113.0/24")}, {"b.yaml", realm_text("bob-home", "203.0.113.1/24")}};
  load();
  EXPECT_EQ(standing(), (Standing{{"bob-home", "198.51.100.0/24"}}));
  EXPECT_THAT(errors(), Contains(HasSubstr("the other one has errors; all are refused")));
}

TEST_F(AdmissionTest, TheSamePrefixInTwoRealmsRefusesBoth) {
  load(kAlice + realm_text("bob-home", "198.51.100.0/24, 192.0.2.0/24"));
  EXPECT_THAT(standing(), IsEmpty());
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("spec.addresses[1]: \"192.0.2.0/24\": is also Realm alice's, a.yaml:5")));
}

TEST_F(AdmissionTest, APrefixThatIsTakenStaysWithWhomItWas) {
  load(kAlice + kBob);
  load(kAlice + realm_text("bob-home", "192.0.2.0/24"));
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}, {"bob-home", "198.51.100.0/24"}}));
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("Realm bob-home: spec.addresses[0]")));
  EXPECT_THAT(errors(), Not(Contains(HasSubstr("both"))));
}

TEST_F(AdmissionTest, WhoFallsBackMayPushOutWhoCameInItsPlace) {
  load(kAlice + kBob);
  // carol takes what alice gives up, but alice's change is refused.
  load(realm_text("alice", "203.0.113.0/24", "another") + kBob + realm_text("carol", "192.0.2.0/24"));
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}, {"bob-home", "198.51.100.0/24"}}));
  EXPECT_EQ(errors().size(), 2u);
}

TEST_F(AdmissionTest, RealmsMaySwapPrefixes) {
  load(kAlice + kBob);
  load(realm_text("alice", "198.51.100.0/24") + realm_text("bob-home", "192.0.2.0/24"));
  EXPECT_EQ(standing(), (Standing{{"alice", "198.51.100.0/24"}, {"bob-home", "192.0.2.0/24"}}));
  EXPECT_THAT(desired_.problems, IsEmpty());
}

TEST_F(AdmissionTest, NestedPrefixesAreToldOnceForEachPair) {
  load(kAlice + realm_text("bob-home", "192.0.2.0/28, 192.0.2.64/28, 192.0.2.65/32") +
       realm_text("carol", "192.0.2.66/32, \"2001:db8::/32\""));
  EXPECT_EQ(standing().size(), 3u);
  EXPECT_THAT(errors(), IsEmpty());
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("192.0.2.0/28\": lies inside 192.0.2.0/24 of Realm alice, a.yaml:5"),
                                      HasSubstr("192.0.2.66/32\": lies inside 192.0.2.64/28 of Realm bob-home")));
  EXPECT_EQ(desired_.problems[0].also, "Realm alice") << "the other one that it concerns";
}

TEST_F(AdmissionTest, AnIdentityIsOfOneRealmAndStays) {
  load(realm_text("alice", "", "x") + realm_text("bob-home", "", "x"));
  EXPECT_THAT(standing(), IsEmpty());
  load(kAlice + kBob);
  load(realm_text("alice", "203.0.113.0/24", "changed") + kBob);
  EXPECT_EQ(standing()["alice"], "192.0.2.0/24");
  EXPECT_THAT(errors(),
              ElementsAre(HasSubstr("spec.identity: \"changed\": cannot be changed; accepted: \"id-of-alice\"")));
  load(kBob);
  load(realm_text("alice", "203.0.113.0/24", "changed") + kBob);  // deleted in between
  EXPECT_EQ(standing()["alice"], "203.0.113.0/24");
}

TEST_F(AdmissionTest, TheRealmsOfAGrantStay) {
  const std::string realms = kAlice + kBob + realm_text("carol", "203.0.113.0/24");
  load(realms + grant_text("bob", "bob-home"));
  load(realms + grant_text("bob", "carol"));
  EXPECT_EQ(standing()["bob"], "bob-home");
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("spec.granteeRealm: \"carol\": cannot be changed")));
  load(realms + grant_text("bob", "bob-home", "revoked: true"));
  EXPECT_EQ(standing()["bob"], "bob-home revoked");
}

// Alice deletes an object and makes another one by its name, and both are seen at once.
TEST_F(AdmissionTest, ADeletedObjectDoesNotStandInForAnotherOneOfItsName) {
  const std::string known = grant_text("g", "bob-home"), refused = grant_text("g", "nobody"),
                    unread = grant_text("g", "bob-home", "revoked: perhaps");
  for (const std::string& text : {refused, unread}) {
    load(kAlice + kBob + with_uid(known, "one"));
    load(kAlice + kBob + with_uid(text, "one"));
    EXPECT_EQ(standing().count("g"), 1u) << "the control";
    load(kAlice + kBob + with_uid(text, "two"));
    EXPECT_EQ(standing().count("g"), 0u);
    EXPECT_THAT(warnings(), ElementsAre(HasSubstr("Grant keystone-system/g: metadata.uid: \"one\": was another")));
    load(kAlice + kBob + with_uid(known, "two"));
    EXPECT_EQ(standing().count("g"), 1u);
    EXPECT_FALSE(desired_.grants.at(0).made_anew) << "nothing of it was kept any more";
  }
  load(kAlice + with_uid(kBob, "one"));
  load(kAlice + with_uid(realm_text("bob-home", "192.0.2.0/24"), "two"));
  EXPECT_EQ(standing(), (Standing{{"alice", "192.0.2.0/24"}}));
}

TEST_F(AdmissionTest, AnObjectOfAnotherUidOwesTheOldOneNothing) {
  const std::string realms = kAlice + kBob + realm_text("carol", "203.0.113.0/24");
  load(realms + with_uid(grant_text("g", "bob-home"), "one"));
  load(realms + with_uid(grant_text("g", "carol"), "two"));
  EXPECT_EQ(standing()["g"], "carol");
  EXPECT_THAT(errors(), IsEmpty());
  EXPECT_TRUE(desired_.grants.at(0).made_anew) << "what is in force is that of the old one";
  load();
  EXPECT_FALSE(desired_.grants.at(0).made_anew);
}

// Nobody knows that it is the same.
TEST_F(AdmissionTest, OfTwoVersionsOneOfWhichHasNoUidNeitherStandsInForTheOther) {
  const std::string known = grant_text("g", "bob-home"), refused = grant_text("g", "nobody");
  for (const bool first : {true, false}) {
    load(kAlice + kBob + (first ? with_uid(known, "one") : known));
    load(kAlice + kBob + (first ? refused : with_uid(refused, "one")));
    EXPECT_EQ(standing().count("g"), 0u) << first;
  }
  load(kAlice + kBob + with_uid(known, "one"));
  files_["b.yaml"] = grant_text("g", "bob-home", "revoked: perhaps");
  load();
  EXPECT_EQ(standing().count("g"), 0u) << "twice, and one of them is another";
  files_.erase("b.yaml");
  load();
  load("]");
  EXPECT_EQ(standing().count("g"), 1u) << "of a file that does not parse nobody knows anything";
}

TEST_F(AdmissionTest, AGrantNamesRealmsThatAreThere) {
  const std::string to_carol = "networkPolicy: {egressAllowed: true, allowedDestinations: [\"realm:carol\"]}";
  load(kAlice + grant_text("bob", "bob-home"));
  EXPECT_EQ(standing().count("bob"), 0u);
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("spec.granteeRealm: \"bob-home\": there is no such Realm")));
  load(kAlice + kBob + grant_text("bob", "bob-home"));
  EXPECT_EQ(standing()["bob"], "bob-home");
  load(kAlice + kBob + grant_text("bob", "bob-home", to_carol));
  EXPECT_EQ(standing()["bob"], "bob-home");  // its last good version names no carol
  EXPECT_THAT(desired_.grants.at(0).destinations, IsEmpty());
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("allowedDestinations[0]: \"realm:carol\"")));
  load(kAlice + grant_text("bob", "bob-home"));
  EXPECT_EQ(standing().count("bob"), 0u);  // nothing is left to fall back on
  EXPECT_EQ(errors().size(), 1u);
}

TEST_F(AdmissionTest, ARealmThatIsRefusedIsTheOneErrorAndItsGrantsAreRefusedWithIt) {
  const std::string bad =
      "---\napiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {name: bob-home}\n"
      "spec: {identity: b, adresses: []}\n";
  const std::string grant = grant_text("bob", "bob-home");
  for (const std::string& realms :
       {kAlice + bad, kAlice + kBob + kBob, kAlice + kBob + realm_text("carol", "192.0.2.0/24")}) {
    load(realms + grant);
    EXPECT_EQ(standing().count("bob"), 0u) << realms;
    EXPECT_EQ(errors().size(), 1u) << testing::PrintToString(errors());
    EXPECT_THAT(errors()[0], HasSubstr("Realm "));
    EXPECT_THAT(warnings(), Contains(HasSubstr("Grant keystone-system/bob: spec.gran"))) << realms;
    // Whoever asks whether the Grant is refused finds an error of its own.
    EXPECT_THAT(desired_.problems,
                Contains(testing::AllOf(testing::Field(&Problem::object, "Grant keystone-system/bob"),
                                        testing::Field(&Problem::severity, Severity::Error))));
    last_good_.clear();
  }
}

TEST_F(AdmissionTest, AnIgnoredListMayNameAnyRealm) {
  load(kAlice + kBob + grant_text("bob", "bob-home", "networkPolicy: {allowedDestinations: [\"realm:carol\"]}"));
  EXPECT_EQ(standing().count("bob"), 1u);
  EXPECT_THAT(warnings(), ElementsAre(HasSubstr("is ignored, because egressAllowed is not true")));
}

TEST_F(AdmissionTest, WorkloadsShareNothing) {
  load(workload_text("web", "veth-1", "10.0.0.1") + workload_text("db", "veth-2", "10.0.0.2"));
  load(workload_text("web", "veth-1", "10.0.0.1") + workload_text("db", "veth-1", "10.0.0.2"));
  EXPECT_EQ(standing(), (Standing{{"db", "veth-2"}, {"web", "veth-1"}}));
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("Workload db: spec.interface: \"veth-1\": is also Workload web's")));
  load(workload_text("web", "veth-1", "10.0.0.1") + workload_text("db", "veth-2", "10.0.0.1"));
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("Workload db: spec.addresses[0]: \"10.0.0.1\"")));
}

TEST_F(AdmissionTest, LinkLocalAddressesAndThoseOfTheHostAreShared) {
  const std::string head = "---\napiVersion: keystone.io/v1alpha1\nkind: Workload\nmetadata: ";
  load(head + "{name: a}\nspec: {grantName: bob, interface: v1, addresses: [10.0.0.1, \"fe80::1\"]}\n" + head +
       "{name: b}\nspec: {grantName: bob, interface: v2, addresses: [10.0.0.2, \"fe80::1\"]}\n" + head +
       "{name: c}\nspec: {grantName: bob, cgroup: c, addresses: [10.0.0.9]}\n" +  //
       head + "{name: d}\nspec: {grantName: bob, cgroup: d, addresses: [10.0.0.9]}\n");
  EXPECT_EQ(standing().size(), 4u);
  EXPECT_THAT(desired_.problems, IsEmpty());
}

TEST_F(AdmissionTest, TheProblemsOfAFileAreBounded) {
  std::string text;
  for (int number = 0; number < 600; ++number) text += "---\nx\n";
  std::vector<std::shared_ptr<const ReadResult>> reads;
  for (int part = 0; part < 3; ++part) reads.push_back(std::make_shared<ReadResult>(read_manifests({"a.yaml", text})));
  EXPECT_LE(admit(reads, {}).desired.problems.size(), 501u);
}

TEST_F(AdmissionTest, PositionsAreThoseOfTheFile) {
  load(kAlice + kBob + "# a comment\n\n" +
       grant_text("bob", "bob-home",
                  "networkPolicy: {\n\n  egressAllowed: true,\n"
                  "  allowedDestinations: [internet]}"));
  const auto line = [this] { return desired_.grants.at(0).destinations.at(0).position; };
  EXPECT_EQ(line().line, 20);
  EXPECT_EQ(line().document, 3);
  load(kAlice + kBob + "# a comment\n\n" + grant_text("bob", "bob-home", "revoked: maybe"));
  EXPECT_EQ(line().line, 20);  // from what was kept
  EXPECT_EQ(line().file, "a.yaml");
  EXPECT_EQ(line().document, 3);
}

// Each field on a line of its own: the error names the field's, not the object's.
TEST_F(AdmissionTest, AConflictIsToldOnTheLineOfItsField) {
  const auto object = [](const std::string& kind, const std::string& name, const std::string& spec) {
    return "---\napiVersion: keystone.io/v1alpha1\nkind: " + kind + "\nmetadata:\n  name: " + name + "\nspec:\n" + spec;
  };
  load(object("Realm", "one", "  addresses: [192.0.2.0/24]\n  identity: same\n") +     // from line 1
       object("Realm", "two", "  addresses: [198.51.100.0/24]\n  identity: same\n"));  // from line 9
  EXPECT_THAT(errors(), ElementsAre(AllOf(HasSubstr("a.yaml:16 "), HasSubstr("a.yaml:8;"))));
  load(kAlice + kBob +  // 10 lines
       object("Grant", "g", "  grantorRealm: alice\n  granteeRealm: nobody\n") +
       object("Grant", "h", "  granteeRealm: bob-home\n  grantorRealm: nobody\n"));
  EXPECT_THAT(errors(), ElementsAre(HasSubstr("a.yaml:18 "), HasSubstr("a.yaml:26 ")));
  const std::string rest = "  grantName: g\n  addresses:\n  - 10.0.0.1\n";
  load(object("Workload", "one", rest + "  cgroup: a\n  interface: veth\n") +
       object("Workload", "two", rest + "  cgroup: a\n  interface: veth\n"));
  EXPECT_THAT(errors(), UnorderedElementsAre(AllOf(HasSubstr("a.yaml:20 "), HasSubstr("spec.addresses[0]")),
                                             AllOf(HasSubstr("a.yaml:21 "), HasSubstr("spec.cgroup")),
                                             AllOf(HasSubstr("a.yaml:22 "), HasSubstr("spec.interface"))));
}

TEST_F(AdmissionTest, AFixedFieldIsToldOnItsLine) {
  const auto texts = [](const std::string& identity, const std::string& grantee) {
    return kAlice + kBob + realm_text("carol", "203.0.113.0/24") +  // 15 lines
           "---\napiVersion: keystone.io/v1alpha1\nkind: Realm\nmetadata: {name: dave}\nspec:\n  identity: " +
           identity +
           "\n---\napiVersion: keystone.io/v1alpha1\nkind: Grant\nmetadata: {name: g}\nspec:\n  grantorRealm: alice\n" +
           "  granteeRealm: " + grantee + "\n";
  };
  load(texts("d", "bob-home"));
  EXPECT_THAT(errors(), IsEmpty());
  load(texts("e", "carol"));
  EXPECT_THAT(errors(), ElementsAre(AllOf(HasSubstr("a.yaml:21 "), HasSubstr("spec.identity")),
                                    AllOf(HasSubstr("a.yaml:28 "), HasSubstr("spec.granteeRealm"))));
}

TEST_F(AdmissionTest, ProblemsStandInOrder) {
  files_ = {{"a.yaml", kAlice + realm_text("bob-home", "1.2.3.4/8")}, {"b.yaml", realm_text("carol", "192.0.2.0/24")}};
  load();
  ASSERT_EQ(errors().size(), 2u);
  EXPECT_THAT(errors()[0], HasSubstr("a.yaml:10"));
  EXPECT_THAT(errors()[1], HasSubstr("b.yaml:5"));
}

}  // namespace
}  // namespace grantd
