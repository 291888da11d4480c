// Manifests of every kind, good and bad. A bad one has one error, which holds the text that its
// first line names, as: # expect: TEXT
#include "crd-sync/manifest_directory.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace grantd {
namespace {

std::vector<std::string> files_of(const std::string& folder) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(GRANTD_SOURCE_DIR "/tests/unit/corpus/" + folder))
    files.push_back(entry.path().string());
  std::sort(files.begin(), files.end());
  return files;
}

std::string name_of(const testing::TestParamInfo<std::string>& info) {
  std::string name = std::filesystem::path(info.param).filename().string();
  std::replace_if(
      name.begin(), name.end(), [](char character) { return !std::isalnum(character); }, '_');
  return name;
}

bool is_printable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char character) { return character >= ' ' && character < 0x7f; });
}

class BadManifest : public testing::TestWithParam<std::string> {};

TEST_P(BadManifest, HasOneClearError) {
  std::ifstream file(GetParam());
  std::string expected;
  std::getline(file, expected);
  ASSERT_TRUE(expected.starts_with("# expect: ")) << expected;
  expected.erase(0, std::string("# expect: ").size());

  std::vector<std::string> errors;
  for (const Problem& problem : load_manifests({GetParam()}).problems) {
    EXPECT_TRUE(is_printable(problem.text())) << problem.text();
    if (problem.severity != Severity::Error) continue;
    errors.push_back(problem.text());
    EXPECT_EQ(problem.position.file, GetParam());
    EXPECT_GT(problem.position.line, 0) << problem.text();
    EXPECT_GT(problem.position.document, 0) << problem.text();
    EXPECT_NE(problem.accepted, "") << problem.text();
  }
  ASSERT_EQ(errors.size(), 1u) << testing::PrintToString(errors);
  EXPECT_NE(errors[0].find(expected), std::string::npos) << errors[0];
}

class GoodManifest : public testing::TestWithParam<std::string> {};

TEST_P(GoodManifest, HasNoProblem) {
  for (const Problem& problem : load_manifests({GetParam()}).problems) ADD_FAILURE() << problem.text();
}

INSTANTIATE_TEST_SUITE_P(Corpus, BadManifest, testing::ValuesIn(files_of("bad")), name_of);
INSTANTIATE_TEST_SUITE_P(Corpus, GoodManifest, testing::ValuesIn(files_of("good")), name_of);

TEST(Corpus, IsThere) {
  EXPECT_GE(files_of("bad").size(), 100u);
  EXPECT_GE(files_of("good").size(), 5u);
}

}  // namespace
}  // namespace grantd
