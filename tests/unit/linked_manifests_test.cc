// Manifests that are links to files elsewhere: their edits are told like those of a file in the directory.
#include "crd-sync/directory_watch.h"
#include "crd-sync/manifest_directory.h"
#include "tests/unit/manifest_directory_fixture.h"

namespace grantd::manifests_test {
namespace {

namespace fs = std::filesystem;

class LinkedManifests : public ManifestDirectoryTest {
 protected:
  LinkedManifests() {
    fs::create_directories(root_.path("srv/git"));
    root_.write("srv/git/bob", kBob);  // a name that is no manifest's by itself
  }

  void link(const std::string& to, const std::string& at) const { fs::create_symlink(to, root_.path(at)); }
  void turn(const std::string& to, const std::string& at) const {
    link(to, at + ".new");
    fs::rename(root_.path(at + ".new"), root_.path(at));
  }
  // Sooner than what is looked at again each second.
  DesiredState told_at_once(ManifestDirectory& manifests) const {
    EXPECT_TRUE(told_of_change(manifests, 500ms));
    return manifests.load().value();
  }
};

TEST_F(LinkedManifests, EditsOfWhatALinkLeadsToAreSeen) {
  write("alice.yaml", kAlice);
  link("../srv/git/bob", "manifests/bob.yaml");
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "bob-home"));
  EXPECT_FALSE(told_of_change(manifests, 50ms));

  write("alice.yaml", realm_text("anna", "192.0.2.0/24"));
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("anna", "bob-home")) << "the control: a plain file";
  root_.write("srv/git/bob", realm_text("ben", "198.51.100.0/24"));  // in place
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("anna", "ben"));
  root_.write("srv/git/bob.new", realm_text("bill", "198.51.100.0/24"));
  EXPECT_FALSE(told_of_change(manifests, 50ms)) << "of another file beside it";
  fs::rename(root_.path("srv/git/bob.new"), root_.path("srv/git/bob"));  // over it
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("anna", "bill"));
  root_.write("srv/git/bob", kBob);  // and the new one is watched, too
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("anna", "bob-home"));
  EXPECT_FALSE(told_of_change(manifests, 50ms));
}

TEST_F(LinkedManifests, SoAreThoseThroughAChainOfLinks) {
  fs::create_directories(root_.path("other"));
  root_.write("other/ben", realm_text("ben", "192.0.2.0/24"));
  link("../srv/middle", "manifests/bob.yaml");
  link(root_.path("srv/git/bob"), "srv/middle");
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("bob-home"));
  root_.write("srv/git/bob", kBob + kAlice);
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("alice", "bob-home")) << "an edit at its end";
  turn("../other/ben", "srv/middle");
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("ben")) << "a link in between";
  root_.write("other/ben", kAlice);
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("alice"));
  root_.write("srv/git/bob", kBob);
  EXPECT_FALSE(told_of_change(manifests, 50ms)) << "nothing leads there any more";
  turn("../srv/git/bob", "manifests/bob.yaml");
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("bob-home")) << "the first one";
}

TEST_F(LinkedManifests, ADirectoryOnTheWayMayBeTurnedOrReplaced) {
  fs::create_directories(root_.path("srv/next"));
  root_.write("srv/next/bob", kAlice);
  link("git", "srv/current");
  link("../srv/current/bob", "manifests/bob.yaml");
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("bob-home"));
  turn("next", "srv/current");
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("alice"));
  fs::rename(root_.path("srv/next"), root_.path("srv/away"));
  fs::rename(root_.path("srv/git"), root_.path("srv/next"));
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("bob-home"));
}

// Links to the manifests' own directory were followed at its last step only.
TEST_F(LinkedManifests, SoMayOneOnTheWayToTheManifests) {
  fs::create_directories(root_.path("srv/one"));
  fs::create_directories(root_.path("srv/two"));
  root_.write("srv/one/a.yaml", kAlice);
  root_.write("srv/two/a.yaml", kBob);
  link("one", "srv/current");
  link("srv/current", "link");
  auto manifests = ManifestDirectory::open(root_.path("link"), "");
  ASSERT_TRUE(manifests);
  EXPECT_THAT(names(manifests.value().load().value()), ElementsAre("alice"));
  turn("two", "srv/current");
  EXPECT_THAT(names(told_at_once(manifests.value())), ElementsAre("bob-home"));
}

TEST_F(LinkedManifests, AFileThatIsRemovedIsGoneAsIfItStoodThere) {
  write("alice.yaml", kAlice);
  link("../srv/git/bob", "manifests/bob.yaml");
  auto manifests = open();
  manifests.load().value();
  fs::remove(root_.path("srv/git/bob"));
  const DesiredState gone = told_at_once(manifests);
  EXPECT_THAT(names(gone), ElementsAre("alice"));
  EXPECT_THAT(errors(gone), IsEmpty());
  EXPECT_THAT(warnings(gone), ElementsAre(HasSubstr("bob.yaml: warning: leads to a file that is not there")));
  root_.write("srv/git/bob", kBob);
  const DesiredState back = told_at_once(manifests);
  EXPECT_THAT(names(back), ElementsAre("alice", "bob-home"));
  EXPECT_THAT(warnings(back), IsEmpty());
  fs::remove_all(root_.path("srv"));
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("alice")) << "with its directories";
  fs::create_directories(root_.path("srv/git"));
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("alice"));
  root_.write("srv/git/bob", kBob);
  EXPECT_THAT(names(told_at_once(manifests)), ElementsAre("alice", "bob-home"));
}

// What git and many editors do: the old file away, and then a new one.
TEST_F(LinkedManifests, AFileThatIsWrittenAnewIsNotGoneMeanwhile) {
  link("../srv/git/bob", "manifests/bob.yaml");
  int good = 0;  // of several: the machine may be busy
  for (int attempt = 0; attempt < 3 && good == 0; ++attempt) {
    auto manifests = open();
    manifests.load().value();
    fs::remove(root_.path("srv/git/bob"));
    const bool told_too_early = told_of_change(manifests, 15ms);
    root_.write("srv/git/bob", kBob);
    const bool told = told_of_change(manifests, 500ms);
    EXPECT_THAT(names(manifests.load().value()), ElementsAre("bob-home"));
    if (!told_too_early && told) ++good;
  }
  EXPECT_EQ(good, 1);
}

TEST_F(LinkedManifests, ALinkThatLeadsNowhereEndsNoLoop) {
  write("alice.yaml", kAlice);
  link("b.yaml", "manifests/a.yaml");
  link("a.yaml", "manifests/b.yaml");
  auto manifests = open();
  const DesiredState desired = manifests.load().value();
  EXPECT_THAT(names(desired), ElementsAre("alice"));
  EXPECT_EQ(errors(desired).size(), 2U);
}

// Each in a directory of its own; what was watched first stays so.
TEST_F(LinkedManifests, MoreDirectoriesThanAreWatchedAreReadEverySecond) {
  const auto file = [](int number) { return "many/" + std::to_string(number) + "/file"; };
  constexpr int kMany = 300;
  for (int number = 0; number < kMany; ++number) {
    fs::create_directories(root_.path("many/" + std::to_string(number)));
    root_.write(file(number), realm_text("r" + std::to_string(number), ""));
    link("../" + file(number), "manifests/" + std::to_string(number) + ".yaml");
  }
  auto manifests = open();
  const DesiredState desired = manifests.load().value();
  EXPECT_EQ(desired.realms.size(), static_cast<std::size_t>(kMany));
  EXPECT_THAT(warnings(desired), ElementsAre(AllOf(HasSubstr(path() + ": warning: is read every second"),
                                                   HasSubstr("its links lead through more than 256 directories"))));
  for (int number = 0; number < kMany; ++number) root_.write(file(number), kAlice);
  EXPECT_TRUE(told_of_change(manifests, 500ms)) << "the control: of those that are watched";
  manifests.load();
  ASSERT_TRUE(told_of_change(manifests, 2s)) << "with no event, after a second";
  for (int number = 20; number < kMany; ++number) fs::remove(path(std::to_string(number) + ".yaml"));
  told_of_change(manifests, 2s);
  EXPECT_THAT(warnings(manifests.load().value()), IsEmpty());
  EXPECT_FALSE(told_of_change(manifests, 1500ms)) << "no longer";
}

TEST_F(LinkedManifests, OtherDirectoriesDoNotFollowTheirs) {
  link("../srv/git/bob", "manifests/bob.yaml");
  auto watch = DirectoryWatch::open(path());
  ASSERT_TRUE(watch);
  root_.write("srv/git/bob", kAlice);
  pollfd wait{watch.value().events_fd(), POLLIN, 0};
  EXPECT_EQ(poll(&wait, 1, 50), 0);
}

// What replace_file() writes before it is whole: it would wake us over and over where the disk is full.
TEST_F(LinkedManifests, WhatHasNotItsNameYetWakesNobody) {
  auto watch = DirectoryWatch::open(path());
  ASSERT_TRUE(watch);
  ASSERT_TRUE(watch.value().renew());
  const auto wakes = [&] {
    watch.value().drain();
    pollfd settled{watch.value().settle_fd(), POLLIN, 0};
    return poll(&settled, 1, 200) == 1 && watch.value().drain();
  };
  write("bob.yaml.new", kAlice);
  EXPECT_FALSE(wakes());
  std::filesystem::rename(path() + "/bob.yaml.new", path() + "/bob.yaml");
  EXPECT_TRUE(wakes());
}

}  // namespace
}  // namespace grantd::manifests_test
