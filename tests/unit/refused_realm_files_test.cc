// What a refused Realm sets apart stays so while nobody can read its file.
#include "tests/unit/manifest_directory_fixture.h"

#include <fcntl.h>
#include <unistd.h>

namespace grantd::manifests_test {
namespace {

using testing::IsEmpty;

class RefusedRealmFiles : public ManifestDirectoryTest {
 protected:
  RefusedRealmFiles() {
    write("alice.yaml", realm_text("alice", "192.0.2.0/24"));
    write("b.yaml", refused_);
  }

  static std::vector<std::string> nobodys(ManifestDirectory& manifests) {
    std::vector<std::string> all;
    const DesiredState desired = manifests.load().value();
    for (const RefusedPrefix& each : desired.nobodys) all.push_back(each.prefix.text());
    return all;
  }

  const std::string refused_ = realm_text("b", "192.0.2.64/28], upklinks: [lan");
};

TEST_F(RefusedRealmFiles, TheSameWhileItDoesNotParse) {
  auto manifests = open();
  EXPECT_THAT(nobodys(manifests), ElementsAre("192.0.2.64/28"));
  for (const std::string& spoiled : {refused_ + "'", std::string()}) {
    write("b.yaml", spoiled);
    EXPECT_THAT(nobodys(manifests), ElementsAre("192.0.2.64/28"));
    EXPECT_THAT(nobodys(manifests), ElementsAre("192.0.2.64/28")) << "however often it is read";
  }
  write("b.yaml", realm_text("b", "192.0.2.64/28"));
  EXPECT_THAT(nobodys(manifests), IsEmpty());
  write("b.yaml", realm_text("b", "192.0.2.64/28") + "'");
  EXPECT_THAT(nobodys(manifests), IsEmpty()) << "it is in force as it was last good";
}

TEST_F(RefusedRealmFiles, TheSameWhileSomebodyWritesIt) {
  auto manifests = open();
  EXPECT_THAT(nobodys(manifests), ElementsAre("192.0.2.64/28"));
  const int writer = ::open(path("b.yaml").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC);
  ASSERT_GE(writer, 0);
  EXPECT_THAT(nobodys(manifests), ElementsAre("192.0.2.64/28"));
  close(writer);
  std::filesystem::remove(path("b.yaml"));
  EXPECT_THAT(nobodys(manifests), IsEmpty()) << "it is gone";
}

}  // namespace
}  // namespace grantd::manifests_test
