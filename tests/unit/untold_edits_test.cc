// Edits of which inotify tells nothing: the directory is looked at now and then.
#include "tests/unit/manifest_directory_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <thread>

namespace grantd::manifests_test {
namespace {

namespace fs = std::filesystem;

class UntoldEdits : public ManifestDirectoryTest {
 protected:
  UntoldEdits() {
    root_.write("bob", kBob);
    fs::create_hard_link(root_.path("bob"), path("bob.yaml"));
    write("alice.yaml", kAlice);
    settle();
  }

  // Until what was written has another time than what is written next.
  static void settle() { std::this_thread::sleep_for(50ms); }
  // A look that finds something takes a second more: it is waited for, whatever comes of it.
  static bool found(ManifestDirectory& manifests) {
    manifests.look();
    pollfd over{manifests.fds().back(), POLLIN, 0};
    EXPECT_EQ(poll(&over, 1, 20'000), 1);
    return manifests.drain();
  }
  static bool nothing_found(ManifestDirectory& manifests) { return !found(manifests); }
  std::string ben() const { return realm_text("ben", "198.51.100.0/24"); }
};

TEST_F(UntoldEdits, AreFoundByALook) {
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "bob-home"));
  root_.write("bob", ben());
  EXPECT_FALSE(told_of_change(manifests, 100ms)) << "the control: nothing tells of another name's";
  EXPECT_TRUE(found(manifests));
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "ben"));
}

TEST_F(UntoldEdits, NothingIsReadWhereNothingChanged) {
  auto manifests = open();
  manifests.load().value();
  EXPECT_TRUE(nothing_found(manifests));
  root_.write("other", kBob);  // no manifest's
  EXPECT_TRUE(nothing_found(manifests));
  root_.write("bob", ben());
  EXPECT_TRUE(found(manifests)) << "the control";
  settle();
  manifests.load().value();
  EXPECT_TRUE(nothing_found(manifests)) << "what was read once is known";
}

TEST_F(UntoldEdits, OfTheSameSizeAndTimeTooAreFound) {
  auto manifests = open();
  manifests.load().value();
  struct stat before {};
  ASSERT_EQ(stat(root_.path("bob").c_str(), &before), 0);
  std::string same = kBob;
  same.replace(same.find("bob-home"), 8, "ben-home");
  root_.write("bob", same);
  const timespec times[] = {before.st_atim, before.st_mtim};
  ASSERT_EQ(utimensat(AT_FDCWD, root_.path("bob").c_str(), times, 0), 0);
  EXPECT_TRUE(found(manifests));
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "ben-home"));
}

// The times of files are as coarse as the kernel's ticks.
TEST_F(UntoldEdits, RightAfterTheReadingAreFound) {
  auto manifests = open();
  bool in_doubt = false;
  for (int attempt = 0; attempt < 20 && !in_doubt; ++attempt) {  // the machine may be busy
    root_.write("bob", kBob);
    manifests.load().value();
    in_doubt = !nothing_found(manifests);
  }
  EXPECT_TRUE(in_doubt) << "another one may have come at the same time";
  settle();
  manifests.load().value();
  EXPECT_TRUE(nothing_found(manifests));
}

// As a ConfigMap is mounted; here ..data leads to a file with another name as well.
TEST_F(UntoldEdits, OfFilesBehindLinkedDirectoriesAreFound) {
  fs::create_directory(path("..one"));
  fs::remove(path("bob.yaml"));
  fs::create_hard_link(root_.path("bob"), path("..one/bob.yaml"));
  fs::create_symlink("..one", path("..data"));
  fs::create_symlink("..data/bob.yaml", path("bob.yaml"));
  settle();
  auto manifests = open();
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "bob-home"));
  EXPECT_TRUE(nothing_found(manifests));
  root_.write("bob", ben());
  EXPECT_FALSE(told_of_change(manifests, 100ms)) << "the control";
  EXPECT_TRUE(found(manifests));
  EXPECT_THAT(names(manifests.load().value()), ElementsAre("alice", "ben"));
}

TEST_F(UntoldEdits, ALookThatAReadingOvertookFindsNothing) {
  auto manifests = open();
  manifests.load().value();
  manifests.look();
  settle();  // it has seen what was before
  root_.write("bob", ben());
  settle();
  manifests.load().value();
  EXPECT_FALSE(told_of_change(manifests, 200ms));
  EXPECT_TRUE(nothing_found(manifests));
}

TEST_F(UntoldEdits, ADirectoryThatIsNotThereIsOneChange) {
  auto manifests = open();
  manifests.load().value();
  fs::remove_all(path());
  while (told_of_change(manifests, 300ms)) manifests.load().value();
  EXPECT_TRUE(nothing_found(manifests));
}

}  // namespace
}  // namespace grantd::manifests_test
