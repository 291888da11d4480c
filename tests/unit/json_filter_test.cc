// What is kept of a document that comes in pieces is what a plain projection of the whole keeps; what is no JSON is
// none with the filter too.
#include "crd-sync/api/json_filter.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

#include <optional>

namespace grantd {
namespace {

using Json = nlohmann::json;

constexpr JsonFilterLimits kFew{40, 5, 64};

KeptMembers kept_members() {
  KeptMembers element;
  element.keep({"a"});
  KeptMembers kept;
  kept.keep({"a"});
  kept.keep({"b", "a"});
  kept.keep({"b", "b", "c"});
  kept.members["c"].each = {element};
  return kept;
}

std::optional<std::string> filtered(std::string_view text, std::size_t piece = 1, const JsonFilterLimits& limits = {}) {
  JsonFilter filter(std::make_shared<const KeptMembers>(kept_members()), limits);
  for (std::size_t at = 0; at < text.size(); at += piece)
    if (!filter.push(text.substr(at, piece))) return std::nullopt;
  if (!filter.finish()) return std::nullopt;
  return filter.text();
}

std::size_t values_in(const Json& value) {
  std::size_t count = 0;
  if (value.is_structured())
    for (const Json& each : value) count += 1 + values_in(each);
  return count;
}

Json projected(const Json& value, const KeptMembers& kept, bool ascii) {
  if (kept.whole || !value.is_structured()) {
    const bool fits = value.dump(-1, ' ', ascii).size() <= kFew.value_bytes && values_in(value) <= kFew.values;
    return fits ? value : Json{{"", "left out"}};
  }
  if (value.is_object()) {
    Json result = Json::object();
    for (const auto& [name, member] : value.items())
      if (const auto found = kept.members.find(name); found != kept.members.end())
        result[name] = projected(member, found->second, ascii);
    return result;
  }
  Json result = Json::array();
  if (!kept.each.empty())
    for (const Json& each : value) result.push_back(projected(each, kept.each.front(), ascii));
  return result;
}

Json random_json(int depth) {
  const int kind = *rc::gen::inRange(0, depth > 0 ? 9 : 5);
  if (kind < 5) {
    static const std::vector<Json> kScalars = {nullptr,
                                               true,
                                               false,
                                               0,
                                               -7,
                                               120,
                                               0.5,
                                               1.5e3,
                                               "",
                                               "x",
                                               "\"\\/\b\n\x7f",
                                               "\u00e4\u20ac\U0001F600",
                                               std::string(50, '<'),
                                               "{\"a\":["};
    return *rc::gen::elementOf(kScalars);
  }
  Json result = kind < 8 ? Json::object() : Json::array();
  for (int count = *rc::gen::inRange(0, 7); count > 0; --count) {
    if (kind < 8)
      result[*rc::gen::element<std::string>("a", "b", "c", "d", "", "a\"b", "\u00e4")] = random_json(depth - 1);
    else
      result.push_back(random_json(depth - 1));
  }
  return result;
}

TEST(JsonFilter, KeepsWhatIsChosen) {
  const struct {
    const char *text, *kept;
  } cases[] = {
      {R"({"a":1,"z":2})", R"({"a":1})"},
      {R"({"z":{"a":1},"b":{"z":1,"a":[1,{"q":2}],"b":{"a":1,"c":null}}})",
       R"({"b":{"a":[1,{"q":2}],"b":{"c":null}}})"},
      {" { \"a\" :\t[ 1 , \"x y\" ] , \"z\" : [ ] } \r\n", R"({"a":[1,"x y"]})"},
      {R"({"\u0061":1,"\u0062":{"a":2}})", R"({"\u0061":1,"\u0062":{"a":2}})"},
      {R"({"c":[{"a":1,"z":[{}]},{},7,[8],{"z":1}]})", R"({"c":[{"a":1},{},7,[],{}]})"},
      {R"({"b":[1,2],"c":{"a":1}})", R"({"b":[],"c":{}})"},
      {R"({"b":"text","c":null})", R"({"b":"text","c":null})"},
      {R"({"b":{"a":1},"b":{"a":2}})", R"({"b":{"a":1},"b":{"a":2}})"},
      {"[[1],{\"a\":2}]", "[]"},
      {"-12.5e+3", "-12.5e+3"},
  };
  for (const auto& each : cases)
    for (const std::size_t piece : {1U, 3U, 1000U}) EXPECT_EQ(filtered(each.text, piece), each.kept) << each.text;
}

TEST(JsonFilter, RefusesWhatIsNoJsonAlsoInWhatIsSkipped) {
  for (const char* value : {"",
                            "tru",
                            "truee",
                            "nul",
                            "01",
                            "1.",
                            "-",
                            "1e",
                            "+1",
                            ".5",
                            "\"",
                            "\"\\x\"",
                            "\"\\u12g4\"",
                            "\"\\ud800\"",
                            "\"\\ud800\\u0041\"",
                            "\"\\ud800x\"",
                            "\"\\udc00\"",
                            "\"\xff\"",
                            "\"\xc0\xaf\"",
                            "\"\xed\xa0\x80\"",
                            "\"\xf4\x90\x80\x80\"",
                            "\"\xe2\x82\"",
                            "\"\x01\"",
                            "[1,]",
                            "[,1]",
                            "[1 2]",
                            "[1}",
                            "{\"k\"}",
                            "{\"k\":}",
                            "{\"k\":1,}",
                            "{1:2}",
                            "{]"}) {
    for (const char* name : {"a", "z"}) {
      const std::string text = std::string("{\"") + name + "\":" + value + "}";
      EXPECT_FALSE(Json::accept(text)) << text;
      EXPECT_EQ(filtered(text), std::nullopt) << text;
    }
  }
  for (const char* text : {"", " ", "{", "{}}", "{}{}", "1 2", "]", "{\"a\":1"})
    EXPECT_EQ(filtered(text), std::nullopt) << text;
  for (const char* text : {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"", "0", "-0.0E-1", "[[],{}]"})
    EXPECT_NE(filtered(std::string("{\"z\":") + text + "}"), std::nullopt) << text;
}

TEST(JsonFilter, HoldsToItsDepth) {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_NE(filtered(nested(64)), std::nullopt);
  EXPECT_EQ(filtered(nested(65)), std::nullopt);
  EXPECT_EQ(filtered("{\"z\":" + nested(64) + "}"), std::nullopt);
}

TEST(JsonFilter, TakesDocumentsOfAnyLengthInLittleMemory) {
  std::string empty = "\"\"";
  for (int count = 1; count < 300'000; ++count) empty += ",\"\"";
  std::string escaped;
  for (int count = 0; count < 1'100'000; ++count) escaped += "\\u003c";
  for (const std::string& value : {"[" + empty + "]", '"' + escaped + '"', "{\"" + escaped + "\":[" + empty + "]}"}) {
    EXPECT_EQ(filtered("{\"z\":" + value + ",\"a\":7}", 16'384), "{\"a\":7}");
    const auto kept = filtered("{\"a\":" + value + ",\"b\":{\"a\":7}}", 16'384);
    ASSERT_TRUE(kept);
    EXPECT_LT(kept->size(), 100U);
    EXPECT_TRUE(is_left_out(Json::parse(*kept)["a"]));
    EXPECT_EQ(Json::parse(*kept)["b"]["a"], 7) << "what comes after it";
  }
}

TEST(JsonFilter, LeavesOutAValueAboveItsBoundsAlone) {
  const auto map = [](int count) {
    Json result = Json::object();
    for (int at = 0; at < count; ++at) result["k" + std::to_string(at)] = "v";
    return result;
  };
  EXPECT_EQ(Json::parse(*filtered(Json{{"a", map(256)}}.dump())), (Json{{"a", map(256)}}));
  EXPECT_TRUE(is_left_out(Json::parse(*filtered(Json{{"a", map(257)}}.dump()))["a"]));
  const std::string longest((16U << 10) - 2, 'x');
  EXPECT_EQ(Json::parse(*filtered(Json{{"a", longest}}.dump(), 100))["a"], longest);
  EXPECT_TRUE(is_left_out(Json::parse(*filtered(Json{{"a", longest + "x"}}.dump(), 100))["a"]));
  for (const Json& other :
       {Json("left out"), Json::object(), Json{{"", "x"}}, Json{{"", "left out"}, {"a", 1}}, Json()})
    EXPECT_FALSE(is_left_out(other)) << other;
}

RC_GTEST_PROP(JsonFilter, KeepsWhatAPlainProjectionKeeps, ()) {
  const Json document = random_json(4);
  const bool ascii = *rc::gen::arbitrary<bool>();
  const std::string text = document.dump(*rc::gen::element(-1, 0, 3), ' ', ascii);
  JsonFilter filter(std::make_shared<const KeptMembers>(kept_members()), kFew);
  for (std::string_view left = text; !left.empty();) {
    const auto piece = std::min(*rc::gen::inRange<std::size_t>(1, 40), left.size());
    RC_ASSERT(filter.push(left.substr(0, piece)));
    left.remove_prefix(piece);
  }
  RC_ASSERT(filter.finish());
  RC_ASSERT(Json::parse(filter.text()) == projected(document, kept_members(), ascii));
}

RC_GTEST_PROP(JsonFilter, TakesWhatIsJsonAndNothingElse, ()) {
  std::string text = random_json(3).dump(-1, ' ', *rc::gen::arbitrary<bool>());
  const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
  text.replace(
      at, *rc::gen::inRange<std::size_t>(0, 3),
      *rc::gen::element<std::string>("", "\"", "\\", "{", "}", "[", "]", ",", ":", "1", "-", ".", "u", "\x80", "\n"));
  const auto kept = filtered(text, *rc::gen::inRange<std::size_t>(1, 10), kFew);
  RC_ASSERT(kept.has_value() == Json::accept(text));
  if (kept) RC_ASSERT(Json::accept(*kept));
}

}  // namespace
}  // namespace grantd
