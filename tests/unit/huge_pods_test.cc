// One pod, as large as its owner can make it, holds up no other: in a stream and in a page.
#include "crd-sync/kubernetes/core_objects.h"
#include "tests/unit/api_samples.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;
using Json = nlohmann::json;

constexpr ApiTime kNow{1000s};

Json pod(const std::string& name, const std::string& version) {
  Json made = api_pod(name, version);
  made["metadata"]["labels"] = {{"app", name}};
  made["status"] = {{"phase", "Running"}, {"qosClass", "Burstable"}, {"podIPs", {{{"ip", "10.42.0.7"}}}}};
  return made;
}

// As the server writes it: "<" is six bytes.
std::string as_sent(const Json& value) {
  std::string text;
  for (const char letter : value.dump()) text += letter == '<' ? "\\u003c" : std::string(1, letter);
  return text;
}

std::vector<Json> pods() {
  std::vector<Json> all = {pod("a", "1"), pod("args", "2"), pod("note", "3"), pod("many", "4"), pod("z", "5")};
  all[1]["spec"]["containers"] = {{{"args", std::vector<std::string>(300'000)}}};
  all[2]["metadata"]["annotations"]["x"] = std::string(1'100'000, '<');
  for (int label = 0; label < 20'000; ++label) all[3]["metadata"]["labels"]["l" + std::to_string(label)] = "";
  return all;
}

class HugePodsTest : public testing::Test {
 protected:
  void open(int status = 200) {
    now_ = std::max(now_, reflector_.due());
    ASSERT_TRUE(reflector_.next(now_));
    reflector_.on_head(status, now_);
  }
  // In pieces as libcurl hands them over.
  bool data(std::string_view text) {
    for (; !text.empty(); text.remove_prefix(std::min<std::size_t>(16'384, text.size())))
      if (!reflector_.on_data(text.substr(0, 16'384), now_)) return false;
    return true;
  }
  void all_are_known() const {
    std::vector<std::string> names, doubted;
    for (const auto& [key, entry] : pods_.objects()) {
      names.push_back(key.name);
      if (!entry.object->doubt.empty()) doubted.push_back(key.name);
      EXPECT_EQ(entry.object->labels.contains("app"), entry.object->doubt.empty()) << key.name;
      EXPECT_EQ(entry.object->addresses.size(), 1U);
      EXPECT_EQ(entry.object->qos, GuestPod::Qos::Burstable);
    }
    EXPECT_THAT(names, ElementsAre("a", "args", "many", "note", "z"));
    EXPECT_THAT(doubted, ElementsAre("many"));
    EXPECT_EQ(reflector_.counters().last_error, "");
  }

  ApiTime now_ = kNow;
  Pods pods_{keep_pod()};
  Reflector reflector_{pod_reflector("node-a"), pods_, 7};
};

TEST_F(HugePodsTest, HoldUpNothingInAStream) {
  open();
  ASSERT_TRUE(data(api_bookmark("1", true)));
  for (const Json& each : pods()) ASSERT_TRUE(data("{\"type\":\"ADDED\",\"object\":" + as_sent(each) + "}\n"));
  all_are_known();
  Json gone = pods()[1];
  ASSERT_TRUE(data(api_event("DELETED", gone)));
  EXPECT_EQ(pods_.objects().size(), 4U);
}

TEST_F(HugePodsTest, HoldUpNothingInAPage) {
  for (const int status : {422, 503}) {
    open(status);
    reflector_.on_data(api_status(status, "no"), now_);
    reflector_.on_end({status, std::nullopt, {}}, now_);
  }
  const ReflectorCounters before = reflector_.counters();
  EXPECT_THAT(before.last_error, testing::HasSubstr("no")) << "a Status is read as before";
  open();
  std::string items;
  auto all = pods();
  for (const char* name : {"args2", "args3", "args4"}) {
    all.push_back(all[1]);
    all.back()["metadata"]["name"] = name;
  }
  for (const Json& each : all) items += (items.empty() ? "" : ",") + as_sent(each);
  ASSERT_TRUE(
      data(R"({"kind":"PodList","apiVersion":"v1","metadata":{"resourceVersion":"9"},"items":[)" + items + "]}"));
  reflector_.on_end({200, std::nullopt, {}}, now_);
  ASSERT_TRUE(pods_.complete()) << reflector_.counters().last_error;
  EXPECT_EQ(pods_.objects().size(), 8U);
  EXPECT_EQ(reflector_.counters().errors, before.errors);
}

TEST_F(HugePodsTest, AnErrorInAStreamIsUnderstood) {
  open();
  ASSERT_TRUE(data(api_bookmark("1", true)));
  EXPECT_FALSE(data(api_event("ERROR", Json::parse(api_status(410, "too old")))));
  reflector_.on_end({200, std::nullopt, {}}, now_);
  EXPECT_EQ(reflector_.counters().errors[static_cast<std::size_t>(ApiErrorReason::Gone)], 1U);
  EXPECT_THAT(reflector_.counters().last_error, testing::HasSubstr("too old"));
}

TEST_F(HugePodsTest, WhatIsNoJsonIsRefusedAlsoWhereItIsNotRead) {
  for (const std::string bad : {"01", "\"\xff\"", "[1,]", "\"\n\""}) {
    open();
    ASSERT_TRUE(data(api_event("ADDED", pod("a", "1")) + api_bookmark("1", true)));
    std::string event = api_event("DELETED", pod("a", "2"));
    event.replace(event.find("\"x\""), 3, bad);
    EXPECT_FALSE(data(event)) << bad;
    reflector_.on_end({200, std::nullopt, {}}, now_);
    EXPECT_EQ(pods_.objects().size(), 1U) << bad;
    EXPECT_THAT(reflector_.counters().last_error, testing::HasSubstr("no JSON"));
    // Half of one, and its end.
    open();
    EXPECT_TRUE(data(event.substr(0, event.find(bad))));
    reflector_.on_end({200, std::nullopt, {}}, now_);
    EXPECT_THAT(reflector_.counters().last_error, testing::HasSubstr("in the middle of an event"));
    for (int round = 0; round < 5; ++round) {
      open(504);
      reflector_.on_end({504, std::nullopt, {}}, now_);
    }
  }
}

// Members that are there twice are kept twice: the bound of what is kept holds all the same.
TEST_F(HugePodsTest, WhatIsKeptOfAnEventIsBounded) {
  open();
  std::string event = "{";
  while (event.size() < (5U << 20)) event += "\"type\":\"" + std::string(10'000, 'x') + "\",";
  EXPECT_FALSE(data(event));
  reflector_.on_end({200, std::nullopt, {}}, now_);
  EXPECT_EQ(reflector_.counters().errors[static_cast<std::size_t>(ApiErrorReason::TooLarge)], 1U);
}

}  // namespace
}  // namespace grantd
