#include "crd-sync/manifest_parts.h"

#include "tests/unit/manifest_texts.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

struct Seen {
  bool parsed = true;
  std::vector<std::string> objects, closed, problems;

  void add(const ReadResult& read) {
    parsed = parsed && read.parsed;
    for (const ManifestObject& object : read.objects)
      objects.push_back(object.id.text() + " " + std::to_string(object.position().line) + " " +
                        std::to_string(object.position().document) + object.text.text());
    for (const Workload& guest : read.closed)
      closed.push_back(guest.interface + " " + std::to_string(guest.position.line) + " " +
                       std::to_string(guest.interface_line) + " " + std::to_string(guest.position.document));
    for (const Problem& problem : read.problems) problems.push_back(problem.text());
  }
};

TEST(ManifestParts, AreCutAtDocumentsAndNowhereElse) {
  const auto parts = split_manifest("# first\n---\na: |\n  ---\n ---\n----\n--- # two\n---x\n---");
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0].text, "# first\n");
  EXPECT_EQ(parts[1].text, "---\na: |\n  ---\n ---\n----\n");
  EXPECT_EQ(parts[1].first_document, 1);
  EXPECT_EQ(parts[1].first_line, 2);
  EXPECT_EQ(parts[2].text, "--- # two\n---x\n");
  EXPECT_EQ(parts[2].first_document, 2);
  EXPECT_EQ(parts[3].first_document, 3);
  EXPECT_EQ(parts[3].first_line, 9);
  EXPECT_EQ(split_manifest("a: 1\n---\nb: 1\n")[1].first_document, 2);
  EXPECT_EQ(split_manifest("---\r\na: 1\r\n---\r\nb: 1\r\n").size(), 3u);
  EXPECT_EQ(split_manifest("%YAML 1.2\n---\na: 1\n---\nb: 1\n").size(), 1u);
  EXPECT_EQ(split_manifest("a: 1\n...\n---\nb: 1\n").size(), 1u);
  EXPECT_EQ(split_manifest("").size(), 1u);
}

RC_GTEST_PROP(ManifestParts, SayWhatTheWholeFileSays, ()) {
  static const std::string kParts[] = {realm_text("alice", "192.0.2.0/24"),
                                       realm_text("bob-home", "192.0.2.1/24"),
                                       "---\n",
                                       "# comment\n",
                                       "\n",
                                       workload_text("web", "veth", "10.0.0.1"),
                                       workload_text("db", "veth-b", "10.0.0.1/8"),
                                       "--- \n",
                                       "apiVersion: v1\n",
                                       "---\n- x\n",
                                       "\r\n"};
  std::string text;
  for (const int pick : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, static_cast<int>(std::size(kParts)))))
    text += kParts[static_cast<std::size_t>(pick)];
  Seen whole, parts;
  whole.add(read_manifests({"a.yaml", text}));
  for (const ManifestPart& part : split_manifest(text)) {
    const ReadResult there = read_manifests({"a.yaml", std::string(part.text), part.first_document, part.first_line});
    const ReadResult here = read_manifests({"a.yaml", std::string(part.text)});
    Seen one, other;
    one.add(there);
    other.add(moved(here, part.first_document - 1, part.first_line - 1));
    RC_ASSERT(one.objects == other.objects);
    RC_ASSERT(one.closed == other.closed);
    RC_ASSERT(one.problems == other.problems);
    parts.add(there);
  }
  RC_ASSERT(whole.parsed == parts.parsed);
  if (!whole.parsed) return;
  RC_ASSERT(whole.objects == parts.objects);
  RC_ASSERT(whole.closed == parts.closed);
  RC_ASSERT(whole.problems == parts.problems);
}

}  // namespace
}  // namespace grantd
