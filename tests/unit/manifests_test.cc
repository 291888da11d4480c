#include "crd-sync/manifest_directory.h"

#include <gtest/gtest.h>

namespace grantd {
namespace {

std::string all_texts(const std::vector<Problem>& problems) {
  std::string all;
  for (const Problem& problem : problems) all += problem.text() + "\n";
  return all;
}

TEST(Manifests, ExamplesAreGood) {
  const std::string root = GRANTD_SOURCE_DIR;
  const DesiredState home = load_manifests({root + "/examples/home"});
  EXPECT_EQ(all_texts(home.problems), "");
  EXPECT_EQ(home.realms.size(), 3u);
  ASSERT_EQ(home.grants.size(), 1u);
  EXPECT_EQ(home.grants[0].key(), "keystone-system/alice-to-bob-compute");
  EXPECT_EQ(home.grants[0].egress_bps, 100'000'000u);
  EXPECT_EQ(home.grants[0].destinations.size(), 3u);
  EXPECT_EQ(home.grants[0].destinations[1].position.line, 22);
  ASSERT_EQ(home.workloads.size(), 1u);
  EXPECT_EQ(home.workloads[0].grant, "keystone-system/alice-to-bob-compute");

  const DesiredState minimal = load_manifests({root + "/examples/minimal.yaml"});
  EXPECT_EQ(all_texts(minimal.problems), "");
  EXPECT_EQ(minimal.realms.size(), 2u);
}

}  // namespace
}  // namespace grantd
