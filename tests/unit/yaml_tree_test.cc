#include "crd-sync/yaml_tree.h"

#include "crd-sync/canonical.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

struct Outcome {
  std::vector<YamlNode> documents;
  std::string error;
  int line = 0;
};

Outcome read(std::string_view text, const YamlLimits& limits = {}) {
  Outcome outcome;
  const auto error =
      read_yaml(text, limits, [&outcome](int, YamlNode&& root) { outcome.documents.push_back(std::move(root)); });
  if (error) {
    outcome.error = error->message;
    outcome.line = error->line;
  }
  return outcome;
}

bool same(const YamlNode& a, const YamlNode& b) {
  if (a.type != b.type || a.text != b.text || a.line != b.line || a.keys.size() != b.keys.size()) return false;
  if (a.type == YamlNode::Type::Scalar && scalar_meaning(a) != scalar_meaning(b)) return false;
  for (std::size_t index = 0; index < a.keys.size(); ++index)
    if (a.keys[index].text != b.keys[index].text || a.keys[index].line != b.keys[index].line) return false;
  return std::equal(a.items.begin(), a.items.end(), b.items.begin(), b.items.end(), same);
}

TEST(YamlTree, SaysWhereABracketIsOpen) {
  for (const std::string& text :
       {std::string("{kind: Grant, metadata: {name: g}\n"), std::string("[a, b"), std::string(20'000, '[')}) {
    const Outcome outcome = read("---\n" + text);
    EXPECT_EQ(outcome.error, "opens a bracket that is not closed") << text.substr(0, 40);
    EXPECT_EQ(outcome.line, 2);
  }
  EXPECT_EQ(read("[a, b]: c\n").error, "a key is a map or a list");
  EXPECT_EQ(read("{kind: Grant, metadata: {name: g}}\n").error, "");
}

TEST(YamlTree, KeepsLinesOfEveryValue) {
  const Outcome outcome = read("a: 1\nb:\n  - x\n  - {c: d,\n     e: f}\ng:\n---\nh: |\n  text\n");
  ASSERT_EQ(outcome.error, "");
  ASSERT_EQ(outcome.documents.size(), 2u);
  const YamlNode& root = outcome.documents[0];
  EXPECT_EQ(root.find("a")->line, 1);
  EXPECT_EQ(root.find("b")->items[0].line, 3);
  EXPECT_EQ(root.find("b")->items[1].find("e")->line, 5);
  EXPECT_EQ(root.find("g")->type, YamlNode::Type::Null);
  EXPECT_EQ(root.find("g")->line, 6);
  EXPECT_EQ(outcome.documents[1].find("h")->text, "text\n");
  EXPECT_EQ(outcome.documents[1].find("h")->line, 8);
}

TEST(YamlTree, RefusesBytesThatAreNoText) {
  const std::string_view cases[] = {"a: \x1b[31m",
                                    std::string_view("a: \0", 4),
                                    "a: \x7f",
                                    "a: \xff",
                                    "a: \xc3",
                                    "a: \xc0\xaf",
                                    "a: \xe0\x80\xaf",
                                    "a: \xed\xa0\x80",
                                    "a: \xf5\x80\x80\x80",
                                    "a: \xc2\x9b",
                                    "\xff\xfe"
                                    "a\0:\0 "};
  for (const std::string_view text : cases) {
    const Outcome outcome = read(std::string("first: line\n") + std::string(text));
    EXPECT_NE(outcome.error, "") << text;
    EXPECT_EQ(outcome.line, 2) << text;
    EXPECT_TRUE(outcome.documents.empty()) << text;
  }
  EXPECT_EQ(read("a: \"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80\"\r\nb:\t1\r\n").error, "");
}

TEST(YamlTree, HoldsToItsLimits) {
  const YamlLimits limits{.bytes = 1000, .values = 20, .depth = 4};
  EXPECT_EQ(read("[[[[x]]]]", limits).error, "");
  EXPECT_EQ(read("[[[[[x]]]]]", limits).error, "is nested too deeply");
  EXPECT_EQ(read("[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", limits).error, "");
  EXPECT_NE(read("[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21]", limits).error, "");
  EXPECT_NE(read("[&a [1, 2, 3, 4], *a, *a, *a]", limits).error, "");
  EXPECT_EQ(read("[&a [1, 2, 3, 4], *a]", limits).error, "");
  EXPECT_EQ(read(std::string(1000, ' '), limits).error, "");
  // Aliases stand for about as much as is written.
  const std::string ten = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\nb: [*a, *a, *a]\n";
  EXPECT_EQ(read(ten).error, "");
  const Outcome bomb = read("a: &a [1, 2, 3, 4, 5, 6, 7, 8]\nb: &b [*a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b]\n");
  EXPECT_THAT(bomb.error, testing::HasSubstr("is an alias too many"));
  EXPECT_EQ(bomb.line, 3);
  std::string documents;
  for (int count = 0; count < 10; count++) documents += "a: &a [1, 2]\nb: [*a, *a, *a, *a, *a, *a, *a, *a]\n---\n";
  EXPECT_EQ(read(documents).error, "");
  EXPECT_EQ(read(std::string(1001, ' '), limits).error, "has 1001 bytes");
}

TEST(YamlTree, SurvivesNestingThatWouldEndTheStack) {
  for (const char* part : {"[", "{", "- ", "? ", "{a: ", "!", "&a ", "*"}) {
    std::string text;
    while (text.size() < 200'000) text += part;
    EXPECT_NE(read(text).error, "") << part;
  }
}

TEST(YamlTree, TellsTextFromWhatYamlTakesForSomethingElse) {
  const auto meaning = [](const std::string& text) { return scalar_meaning(read(text).documents.at(0)); };
  for (const char* text :
       {"eth0", "10.0.0.1", "2026-01-01", "1.2.3", "''", "'1'", "\"true\"", "e3", "+", ".", "-a", "0x"})
    EXPECT_EQ(meaning(text), ScalarMeaning::Text) << text;
  for (const char* text : {"0", "-1", "+12", "007"}) EXPECT_EQ(meaning(text), ScalarMeaning::Integer) << text;
  for (const char* text : {"1.5", "1e3", "-.5E-2", ".inf", "-.INF", ".nan", "0x1f", "0o17", "5."})
    EXPECT_EQ(meaning(text), ScalarMeaning::Number) << text;
  for (const char* text : {"true", "False", "yes", "NO", "on", "Off"})
    EXPECT_EQ(meaning(text), ScalarMeaning::Boolean) << text;
}

TEST(YamlTree, QuotesMustBeClosed) {
  for (const char* text : {"a: \"x\n", "a: 'x\n", "a: \"x\\\"\n", "[\"a\n"}) EXPECT_NE(read(text).error, "") << text;
  for (const char* text : {"a: \"x\"\n", "a: 'it''s'\n", "a: \"x\\\"\"\n", "a: \"x\n  y\"\n", "a: |\n  \"x\n"})
    EXPECT_EQ(read(text).error, "") << text;
}

// Trees of maps, lists and scalars of every kind, with text that is hard to write.
rc::Gen<std::string> hard_text() {
  return rc::gen::map(rc::gen::container<std::vector<int>>(rc::gen::inRange(0, 12)), [](const std::vector<int>& picks) {
    static constexpr std::string_view kParts[] = {"a",        "\"",       "\\",   "\n", "\t", "\x1b",
                                                  "\xc2\x9b", "\xc3\xa4", "true", ": ", "#",  "'"};
    std::string text;
    for (const int pick : picks) text += kParts[static_cast<std::size_t>(pick)];
    return text;
  });
}

YamlNode arbitrary_tree(int depth) {
  YamlNode node;
  const int type = *rc::gen::inRange(0, depth > 0 ? 5 : 3);
  if (type == 0) return node;
  if (type <= 2) {
    node.type = YamlNode::Type::Scalar;
    node.quoted = type == 1;
    node.text = node.quoted ? *hard_text() : *rc::gen::element<std::string>("1", "-2.5", "true", "no", "0x1F", "1e3");
    return node;
  }
  node.type = type == 3 ? YamlNode::Type::Sequence : YamlNode::Type::Map;
  const int count = *rc::gen::inRange(0, 4);
  for (int index = 0; index < count; ++index) {
    if (node.type == YamlNode::Type::Map) node.keys.push_back({"k" + std::to_string(index) + *hard_text(), 0});
    node.items.push_back(arbitrary_tree(depth - 1));
  }
  return node;
}

// What write() may have put anywhere: a node stands where its parent or sibling stands, or below.
void give_lines(YamlNode& node, int& line) {
  line += *rc::gen::inRange(0, 2);
  node.line = line;
  for (std::size_t index = 0; index < node.items.size(); ++index) {
    if (index < node.keys.size()) {
      line += *rc::gen::inRange(0, 2);
      node.keys[index].line = line;
    }
    const bool null = node.items[index].type == YamlNode::Type::Null && index < node.keys.size();
    if (null)
      node.items[index].line = line;  // a value that is null is told to stand where its key does
    else
      give_lines(node.items[index], line);
  }
}

RC_GTEST_PROP(TreeText, ReadsBackAsTheSameTreeOnTheSameLines, ()) {
  YamlNode root = arbitrary_tree(4);
  RC_PRE(root.type != YamlNode::Type::Null);
  int line = 1;
  give_lines(root, line);
  const std::string text = tree_text(root);
  const Outcome outcome = read(std::string(static_cast<std::size_t>(root.line - 1), '\n') + text);
  RC_ASSERT(outcome.error == "");
  RC_ASSERT(outcome.documents.size() == 1u);
  RC_ASSERT(same(outcome.documents[0], root));
  RC_ASSERT(tree_text(outcome.documents[0]) == text);
}

RC_GTEST_PROP(YamlTree, AnyTextIsReadOrRefusedWithoutHarm, (const std::string& text)) { (void)read(text); }

RC_GTEST_PROP(YamlTree, AnyYamlLikeTextIsReadOrRefusedWithoutHarm, ()) {
  static constexpr std::string_view kParts[] = {"a",  ":",   " ", "\n",  "- ", "---\n", "...\n", "[",   "]",
                                                "{",  "}",   ",", "&x ", "*x", "\"",    "'",     "|",   ">",
                                                "? ", "!t ", "#", "%",   "~",  "  ",    "\t",    "<<: "};
  std::string text;
  for (const int pick : *rc::gen::container<std::vector<int>>(rc::gen::inRange(0, static_cast<int>(std::size(kParts)))))
    text += kParts[static_cast<std::size_t>(pick)];
  (void)read(text);
}

TEST(SpecHash, IsOfWhatASpecSays) {
  const auto hash = [](const std::string& text) { return spec_hash(read(text).documents.at(0)); };
  EXPECT_EQ(hash("{a: 1, b: [x, y]}"), hash("# c\nb:\n  - x\n  - \"y\"\na: \"1\"\n"));
  EXPECT_NE(hash("{a: 1, b: [x, y]}"), hash("{a: 1, b: [y, x]}"));
  EXPECT_NE(hash("{a: 1}"), hash("{a: 2}"));
  EXPECT_NE(hash("{a: 1}"), hash("{b: 1}"));
  EXPECT_NE(hash("{a: [b]}"), hash("{a: b}"));
  EXPECT_NE(hash("[[a], b]"), hash("[[a, b]]"));
  EXPECT_NE(hash("[ab, c]"), hash("[a, bc]"));
  EXPECT_NE(hash("{a: {}}"), hash("{a: []}"));
}

}  // namespace
}  // namespace grantd
