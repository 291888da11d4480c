#include "tests/unit/manifest_directory_fixture.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <thread>

namespace grantd::manifests_test {
namespace {

TEST_F(ManifestDirectoryTest, ReadsManifestsAndNothingElse) {
  write("b.yaml", kBob);
  write("a.yml", kAlice);
  write("c.json", R"({"apiVersion": "keystone.io/v1alpha1", "kind": "Realm", "metadata": {"name": "carol"},
                      "spec": {"identity": "c"}})");
  for (const char* name : {".hidden.yaml", "b.yaml~", "#b.yaml#", "b.yaml.swp", ".b.yaml.swp", "b.yaml.bak", "README",
                           "README.md", "a.yml.orig", "b.yaml.dpkg-old"})
    write(name, "{");
  std::filesystem::create_directory(path("inside"));
  root_.write("manifests/inside/notes.txt", "{");
  auto manifests = open();
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice", "bob-home", "carol"));
  EXPECT_THAT(desired.problems, IsEmpty());
}

TEST_F(ManifestDirectoryTest, ANameThatIsAlmostAManifestsIsTold) {
  write("a.yaml", kAlice);
  write("b.YAML", kBob);
  write(".C.YAML", kBob);
  auto manifests = open();
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice"));
  EXPECT_THAT(warnings(desired),
              ElementsAre(AllOf(HasSubstr("b.YAML: warning: is not read"), HasSubstr("accepted: NAME.yaml"))));
  EXPECT_THAT(warnings(load_manifests({path()})), ElementsAre(HasSubstr("b.YAML: warning: is not read")));
  EXPECT_THAT(names(load_manifests({path("b.YAML")})), ElementsAre("bob-home")) << "a file that is named is read";
}

TEST_F(ManifestDirectoryTest, WhatIsNotReadForItsNameIsTold) {
  write("a.yaml", kAlice);
  write("b.conf", kBob);
  write("b.yaml.txt", kBob);
  std::filesystem::create_directory(path("inside"));
  root_.write("manifests/inside/d.yaml", kBob);
  auto manifests = open();
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice"));
  EXPECT_THAT(warnings(desired),
              ElementsAre(HasSubstr("b.conf: warning: is not read"), HasSubstr("b.yaml.txt: warning: is not read"),
                          HasSubstr("inside: warning: holds manifests, and directories are not read")));
  for (int number = 0; number < 40; number++) write("note" + std::to_string(number) + ".txt", "x");
  const auto many = warnings(manifests.load().value());
  ASSERT_EQ(many.size(), 17U);
  EXPECT_THAT(many.back(), HasSubstr("27 more files are not read"));
}

TEST_F(ManifestDirectoryTest, ADirectoryThatIsNotThereIsAnError) {
  const auto opened = ManifestDirectory::open(root_.path("no-such"), "");
  ASSERT_FALSE(opened);
  EXPECT_THAT(opened.error().message, HasSubstr("no-such: No such file or directory"));
  root_.write("file", "");
  EXPECT_FALSE(ManifestDirectory::open(root_.path("file"), ""));
}

TEST_F(ManifestDirectoryTest, FilesThatCannotBeReadAreErrorsAndKeepWhatTheyHad) {
  write("a.yaml", kAlice);
  write("b.yaml", kBob);
  auto manifests = open();
  manifests.load().value();
  std::filesystem::remove(path("b.yaml"));
  ASSERT_EQ(mkfifo(path("b.yaml").c_str(), 0600), 0);
  std::filesystem::create_symlink("nowhere", path("c.yaml"));
  std::filesystem::create_directory(path("d.yaml"));
  write("e.yaml", std::string((4U << 20) + 1, '#'));
  write("f\n.yaml", "");
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice", "bob-home"));
  EXPECT_THAT(errors(desired),
              ElementsAre(HasSubstr("b.yaml: is no regular file"), HasSubstr("d.yaml: is no regular file"),
                          AllOf(HasSubstr("has more than 4194304"), HasSubstr("accepted: a file of at most 4194304 ")),
                          HasSubstr("has control characters in its name")));
  EXPECT_THAT(warnings(desired), ElementsAre(AllOf(HasSubstr("c.yaml: warning: leads to a file that is not there"),
                                                   HasSubstr("accepted: a file "))));
}

TEST_F(ManifestDirectoryTest, TellsOfEveryWayToEdit) {
  auto manifests = open();
  manifests.load().value();
  EXPECT_FALSE(told_of_change(manifests, 50ms));

  write("a.yaml", kAlice);
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("alice"));
  write("a.yaml", kAlice + kBob);  // in place
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("alice", "bob-home"));
  write(".a.yaml.tmp", kBob);  // beside it, and renamed
  std::filesystem::rename(path(".a.yaml.tmp"), path("a.yaml"));
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("bob-home"));
  std::filesystem::rename(path("a.yaml"), path("b.yaml"));
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("bob-home"));
  std::filesystem::rename(path("b.yaml"), root_.path("b.yaml"));  // out
  EXPECT_THAT(names(after_change(manifests)), IsEmpty());
  std::filesystem::create_hard_link(root_.path("b.yaml"), path("c.yaml"));
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("bob-home"));
  std::filesystem::remove(path("c.yaml"));
  EXPECT_THAT(names(after_change(manifests)), IsEmpty());
  EXPECT_FALSE(told_of_change(manifests, 50ms));
}

TEST_F(ManifestDirectoryTest, AnEditIsToldInTime) {
  auto manifests = open();
  auto fastest = Clock::duration::max();  // of several: the machine may be busy
  for (int attempt = 0; attempt < 5; ++attempt) {
    manifests.load().value();
    write("a.yaml", kAlice + "# " + std::to_string(attempt));
    const auto start = Clock::now();
    ASSERT_TRUE(told_of_change(manifests, 2s));
    fastest = std::min(fastest, Clock::now() - start);
  }
  EXPECT_LT(fastest, 50ms);
}

TEST_F(ManifestDirectoryTest, AnEditorsSavingLooksLikeOneChange) {
  int good = 0;  // of several: the machine may be busy
  for (int attempt = 0; attempt < 3 && good == 0; ++attempt) {
    write("a.yaml", kAlice);
    auto manifests = open();
    manifests.load().value();
    // What vim does: the old file aside, a new one, and the old one away.
    std::filesystem::rename(path("a.yaml"), path("a.yaml~"));
    const bool told_too_early = told_of_change(manifests, 15ms);
    write("a.yaml", kAlice + kBob);
    std::filesystem::remove(path("a.yaml~"));
    const bool told = told_of_change(manifests, 2s);
    EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "bob-home"));
    if (!told_too_early && told && !told_of_change(manifests, 100ms)) ++good;
  }
  EXPECT_EQ(good, 1);
}

TEST_F(ManifestDirectoryTest, ChangesWithoutEndAreToldAllTheSame) {
  auto manifests = open();
  manifests.load().value();
  const auto end = Clock::now() + 400ms;
  int told = 0;
  for (int number = 0; Clock::now() < end; ++number) {
    write("a.yaml", kAlice + "# " + std::to_string(number) + "\n");
    if (told_of_change(manifests, 3ms)) ++told;
  }
  EXPECT_GE(told, 2);
}

TEST_F(ManifestDirectoryTest, SwapsOfAMountedConfigMapAreSeen) {
  std::filesystem::create_directory(path("..one"));
  root_.write("manifests/..one/a.yaml", kAlice);
  std::filesystem::create_symlink("..one", path("..data"));
  std::filesystem::create_symlink("..data/a.yaml", path("a.yaml"));
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice"));
  std::filesystem::create_directory(path("..two"));
  root_.write("manifests/..two/a.yaml", kBob);
  std::filesystem::create_symlink("..two", path("..data_tmp"));
  std::filesystem::rename(path("..data_tmp"), path("..data"));
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("bob-home"));
}

TEST_F(ManifestDirectoryTest, ADirectoryThatVanishesTakesNothingAway) {
  write("a.yaml", kAlice);
  auto manifests = open();
  manifests.load().value();
  std::filesystem::rename(path(), root_.path("elsewhere"));
  const DesiredState gone = after_change(manifests);
  EXPECT_THAT(names(gone), ElementsAre("alice"));
  EXPECT_THAT(errors(gone), ElementsAre(HasSubstr("No such file or directory")));

  std::filesystem::create_directory(root_.path("fresh"));
  root_.write("fresh/a.yaml", kAlice + kBob);
  std::filesystem::rename(root_.path("fresh"), path());
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("alice", "bob-home"));
  write("a.yaml", kBob);  // the new one is watched, too
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("bob-home"));
}

TEST_F(ManifestDirectoryTest, ADirectoryThatIsEmptyNowIsTold) {
  write("realms.yaml", kAlice);
  auto manifests = ManifestDirectory::open(path(), "");
  ASSERT_TRUE(manifests.ok());
  EXPECT_THAT(manifests.value().load()->problems, IsEmpty());
  std::filesystem::remove(path("realms.yaml"));
  const DesiredState desired = *manifests.value().load();
  EXPECT_THAT(names(desired), IsEmpty());
  ASSERT_EQ(desired.problems.size(), 1U);
  EXPECT_EQ(desired.problems[0].severity, Severity::Warning);
  EXPECT_THAT(desired.problems[0].text(), HasSubstr(path() + ": warning: holds no manifest any more"));
  write("realms.yaml", kAlice);
  EXPECT_THAT(manifests.value().load()->problems, IsEmpty());
}

TEST_F(ManifestDirectoryTest, ADirectoryThatIsEmptyAtAStartIsToldOnce) {
  write("realms.yaml", kAlice);
  const auto warnings = [&] {
    auto manifests = ManifestDirectory::open(path(), root_.path("state"));
    const DesiredState desired = *manifests.value().load();
    EXPECT_FALSE(manifests.value().keep());
    return desired.problems.size();
  };
  EXPECT_EQ(warnings(), 0U);
  std::filesystem::remove(path("realms.yaml"));
  EXPECT_EQ(warnings(), 1U);
  EXPECT_EQ(warnings(), 0U) << "nothing is known any more of what stood there";
}

TEST_F(ManifestDirectoryTest, ALinkToADirectoryMayBeTurned) {
  std::filesystem::create_directory(root_.path("one"));
  std::filesystem::create_directory(root_.path("two"));
  root_.write("one/a.yaml", kAlice);
  root_.write("two/a.yaml", kBob);
  std::filesystem::create_directory_symlink("one", root_.path("link"));
  auto manifests = ManifestDirectory::open(root_.path("link"), "");
  ASSERT_TRUE(manifests);
  EXPECT_THAT(names(manifests.value().load().value()), ElementsAre("alice"));
  std::filesystem::create_directory_symlink("two", root_.path("next"));
  std::filesystem::rename(root_.path("next"), root_.path("link"));
  EXPECT_THAT(names(after_change(manifests.value())), ElementsAre("bob-home"));
}

TEST_F(ManifestDirectoryTest, AnOverflowOfEventsIsAChange) {
  auto manifests = open();
  manifests.load().value();
  // Names that count for nothing, beside the directory, until the queue is full: 16,384 by default.
  for (int number = 0; number < 9'000; ++number) {
    root_.write("x", "");
    std::filesystem::remove(root_.path("x"));
  }
  write("a.yaml", kAlice);  // lost
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("alice"));
}

TEST_F(ManifestDirectoryTest, WhatWasGoodOutlivesARestart) {
  write("a.yaml", kAlice + kBob);
  {
    auto first = open();
    first.load().value();
    EXPECT_FALSE(first.keep());
  }
  write("a.yaml", kAlice + realm_text("bob-home", "198.51.100.1/24"));
  auto manifests = open();
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice", "bob-home"));
  EXPECT_EQ(errors(desired).size(), 1u);

  root_.write("state/last-good", "damaged");
  auto again = open();
  const DesiredState lost = again.load().value();
  EXPECT_THAT(names(lost), ElementsAre("alice"));
  ASSERT_FALSE(lost.problems.empty());
  EXPECT_THAT(lost.problems[0].text(), HasSubstr("the last good manifests are lost"));
}

TEST_F(ManifestDirectoryTest, WithoutAStateDirectoryItWorksAndWithABadOneItSays) {
  write("a.yaml", kAlice);
  auto none = ManifestDirectory::open(path(), "");
  ASSERT_TRUE(none);
  EXPECT_THAT(none.value().load().value().problems, IsEmpty());
  EXPECT_FALSE(none.value().keep());
  root_.write("file", "");
  auto bad = ManifestDirectory::open(path(), root_.path("file/state"));
  ASSERT_TRUE(bad);
  EXPECT_THAT(names(bad.value().load().value()), ElementsAre("alice"));
  for (int attempt = 0; attempt < 2; ++attempt) {
    const auto problem = bad.value().keep();
    ASSERT_TRUE(problem);
    EXPECT_THAT(problem->text(), HasSubstr("the last good manifests are not kept"));
  }
  std::filesystem::remove(root_.path("file"));
  std::filesystem::create_directory(root_.path("file"));
  EXPECT_FALSE(bad.value().keep());
  EXPECT_THAT(root_.names("file/state"), ElementsAre("last-good"));
}

TEST_F(ManifestDirectoryTest, EditsOfTheSameSizeInOneInstantAreSeen) {
  write("a.yaml", kAlice);
  auto manifests = open();
  manifests.load().value();
  for (const char* prefix : {"192.0.3.0/24", "192.0.4.0/24", "192.0.5.0/24"}) {
    write("a.yaml", realm_text("alice", prefix));
    EXPECT_EQ(manifests.load().value().realms.at(0).addresses.at(0).prefix.text(), prefix);
  }
}

TEST_F(ManifestDirectoryTest, AFileCountsWhenNobodyHasItOpenForWriting) {
  write("bob.yaml", kBob);
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("bob-home"));
  for (const char* name : {"bob.yaml", "fresh.yaml"}) {
    std::ofstream writer(path(name));
    writer << realm_text("half", "203.0.113.0/24") << std::flush;  // a document may follow, or more of this one
    write("alice.yaml", kAlice);
    const DesiredState meanwhile = after_change(manifests);
    EXPECT_THAT(names(meanwhile), ElementsAre("alice", "bob-home")) << name;
    EXPECT_THAT(errors(meanwhile), IsEmpty());
    ASSERT_EQ(meanwhile.problems.size(), 1U);
    EXPECT_THAT(meanwhile.problems[0].text(), AllOf(HasSubstr(name), HasSubstr("being written")));
    EXPECT_TRUE(told_of_change(manifests, 2s)) << "looks again, for nothing yet";
    manifests.load();
    if (name == std::string("bob.yaml")) writer << "---\n" << kBob;
    writer.close();
    EXPECT_THAT(names(after_change(manifests)), ElementsAre("alice", "bob-home", "half"));
    write(name, kBob);
    after_change(manifests);
  }
}

TEST_F(ManifestDirectoryTest, AFileThatIsWrittenFromElsewhereIsLookedAtAgain) {
  write("bob.yaml", kBob);
  std::filesystem::create_hard_link(path("bob.yaml"), root_.path("elsewhere"));
  std::ofstream writer(root_.path("elsewhere"), std::ios::app);
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), IsEmpty()) << "it was never seen whole";
  writer.close();
  EXPECT_THAT(names(after_change(manifests)), ElementsAre("bob-home"));
}

// A narrower Grant whose reading fails for a moment would otherwise never be in force.
TEST_F(ManifestDirectoryTest, WhatTheSystemDidNotReadIsLookedAtAgain) {
  write("realms.yaml", kAlice);
  ManifestDirectory manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice"));
  write("realms.yaml", kBob);
  ASSERT_TRUE(told_of_change(manifests, 1s));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{0, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const DesiredState unread = manifests.load().value();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(names(unread), ElementsAre("alice"));
  EXPECT_THAT(errors(unread), ElementsAre(HasSubstr("Too many open files")));
  EXPECT_TRUE(told_of_change(manifests, 3s));
  const DesiredState read = manifests.load().value();
  EXPECT_THAT(names(read), ElementsAre("bob-home"));
  EXPECT_THAT(errors(read), IsEmpty());
  EXPECT_FALSE(told_of_change(manifests, 1500ms));
}

TEST_F(ManifestDirectoryTest, AnEmptyFileIsTakenForAnAccident) {
  write("a.yaml", kAlice);
  auto manifests = open();
  manifests.load().value();
  for (const char* nothing : {"", " \n\n"}) {
    write("a.yaml", nothing);
    const DesiredState desired = manifests.load().value();
    EXPECT_THAT(names(desired), ElementsAre("alice"));
    EXPECT_THAT(errors(desired), ElementsAre(HasSubstr("a.yaml: is empty; delete the file")));
  }
  EXPECT_THAT(warnings(manifests.load().value()), Not(Contains(HasSubstr("holds no object"))));
  for (const char* nothing : {"# nothing, on purpose\n", "---\n", "null\n", "---\n# nothing\n---\n"}) {
    write("a.yaml", nothing);
    const DesiredState desired = manifests.load().value();
    EXPECT_THAT(names(desired), IsEmpty());
    EXPECT_THAT(errors(desired), IsEmpty());
    EXPECT_THAT(warnings(desired), ElementsAre(HasSubstr("a.yaml: warning: holds no object"))) << nothing;
  }
  write("a.yaml", "---\n" + kAlice);
  EXPECT_THAT(warnings(manifests.load().value()), IsEmpty()) << "an empty document beside others is nothing";
}

// Documents that were read before are moved, not read again.
TEST_F(ManifestDirectoryTest, PositionsFollowWhatIsWrittenAboveThem) {
  const std::string grant = grant_text("bob", "bob-home",
                                       "networkPolicy: {egressAllowed: true,\n"
                                       "  allowedDestinations: [internet]},\n"
                                       " bandwidth: {egressBurst: 1Mi,\n  ingressBurst: 1Mi}");
  const std::string wrong = realm_text("carol", "203.0.113.1/24");
  write("a.yaml", kAlice + kBob + grant + wrong);
  auto manifests = open();
  const DesiredState before = manifests.load().value();
  write("a.yaml", "# one more\n" + realm_text("dave", "") + kAlice + kBob + grant + wrong);
  const DesiredState after = manifests.load().value();
  const auto& was = before.grants.at(0).destinations.at(0).position;
  const auto& is = after.grants.at(0).destinations.at(0).position;
  EXPECT_EQ(was.line, 16);
  EXPECT_EQ(was.document, 3);
  EXPECT_EQ(is.line, 16 + 6);
  EXPECT_EQ(is.document, 4);
  EXPECT_EQ(after.realms.at(0).addresses.at(0).position.line, before.realms.at(0).addresses.at(0).position.line + 6);
  EXPECT_EQ(after.realms.at(0).identity_line, before.realms.at(0).identity_line + 6);
  EXPECT_EQ(after.grants.at(0).grantee_line, before.grants.at(0).grantee_line + 6);
  EXPECT_EQ(before.grants.at(0).egress_burst_line, 17);
  EXPECT_EQ(after.grants.at(0).egress_burst_line, 17 + 6);
  EXPECT_EQ(after.grants.at(0).ingress_burst_line, 18 + 6);
  EXPECT_THAT(errors(before), ElementsAre(HasSubstr("a.yaml:23 (document 4)")));
  EXPECT_THAT(errors(after), ElementsAre(HasSubstr("a.yaml:29 (document 5)")));
}

TEST_F(ManifestDirectoryTest, OneDocumentThatDoesNotParseHoldsBackItsWholeFile) {
  write("a.yaml", kAlice + kBob);
  auto manifests = open();
  manifests.load().value();
  write("a.yaml", realm_text("alice", "203.0.113.0/24") + "---\n{\n");
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice", "bob-home"));
  EXPECT_EQ(desired.realms.at(0).addresses.at(0).prefix.text(), "192.0.2.0/24");
  EXPECT_EQ(errors(desired).size(), 1u);
}

TEST_F(ManifestDirectoryTest, TheDocumentsOfAFileAreBounded) {
  std::string text;
  for (int number = 0; number < 20'001; ++number) text += "---\n";
  write("a.yaml", kAlice + text);
  write("b.yaml", kBob + text.substr(0, 4 * 100));
  const DesiredState desired = load_manifests({path()});
  EXPECT_THAT(names(desired), ElementsAre("bob-home"));
  EXPECT_THAT(errors(desired), ElementsAre(HasSubstr("a.yaml: has more than 20000 documents")));
}

TEST_F(ManifestDirectoryTest, PathsOfACheckMayBeFilesAndDirectories) {
  write("a.yaml", kAlice);
  root_.write("other.txt", kBob);
  EXPECT_THAT(names(load_manifests({path(), root_.path("other.txt"), path("a.yaml")})),
              ElementsAre("alice", "bob-home"));
  const DesiredState missing = load_manifests({root_.path("no-such")});
  EXPECT_THAT(errors(missing),
              ElementsAre(AllOf(HasSubstr("no-such: is not there"), HasSubstr("accepted: a file or "))));
}

}  // namespace
}  // namespace grantd::manifests_test
