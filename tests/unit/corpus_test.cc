// Manifests of every kind, good and bad. A bad one has one error, which holds the text that its
// first line names, as: # expect: TEXT
#include "crd-sync/last_good.h"
#include "crd-sync/manifest_directory.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

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
    if (problem.shown() != Severity::Error) continue;
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

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Whatever an edit makes of a manifest, it is read or refused, and nothing of it reaches a terminal.
RC_GTEST_PROP(Corpus, AnyDamageIsReadOrRefusedWithoutHarm, ()) {
  static const auto kFiles = [] {
    auto files = files_of("good");
    for (const std::string& file : files_of("bad")) files.push_back(file);
    return files;
  }();
  std::string text = text_of(*rc::gen::elementOf(kFiles));
  const int edits = *rc::gen::inRange(1, 4);
  for (int edit = 0; edit < edits && !text.empty(); ++edit) {
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    const auto length = std::min(*rc::gen::inRange<std::size_t>(0, 30), text.size() - at);
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        text.erase(at, length);
        break;
      case 1:
        text.insert(at, text.substr(at, length));
        break;
      case 2:
        text[at] = *rc::gen::arbitrary<char>();
        break;
      default:
        text.insert(at, *rc::gen::element<std::string>("\n", "\"", "'", "{", "]", "---\n", "- ", ": ", "&a ", "*a"));
    }
  }
  const ReadResult read = read_manifests({"a.yaml", text});
  for (const Problem& problem : read.problems) RC_ASSERT(is_printable(problem.text()));
  RC_ASSERT(read.parsed || read.objects.empty());
  for (const ManifestObject& object : read.objects) {
    const KeptObject kept{object.position(), object.text, {}};
    const auto again = read_kept(object.id, kept);
    RC_ASSERT(again.ok());
    RC_ASSERT(again.value().text == object.text);
    RC_ASSERT(again.value().position().line == object.position().line);
  }
}

TEST(Corpus, IsThere) {
  EXPECT_GE(files_of("bad").size(), 100u);
  EXPECT_GE(files_of("good").size(), 5u);
}

}  // namespace
}  // namespace grantd
