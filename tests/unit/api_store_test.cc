#include "crd-sync/api/json.h"
#include "tests/unit/api_samples.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace grantd {
namespace {

using testing::HasSubstr;

class Store : public testing::Test {
 protected:
  Result<void> put(const nlohmann::json& object) { return store_.put(*object_meta(object), object); }
  PodStore store_{project_pod, 3};
};

TEST_F(Store, ReplacesTheWholeSetAtOnce) {
  store_.begin_replace();
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  EXPECT_FALSE(store_.complete());
  EXPECT_EQ(known(store_), "");
  store_.end_replace();
  EXPECT_TRUE(store_.complete());
  EXPECT_EQ(known(store_), "a=x");

  store_.begin_replace();
  ASSERT_TRUE(put(api_pod("b", "2")).ok());
  EXPECT_EQ(known(store_), "a=x");  // until the new one is whole
  store_.abandon_replace();
  EXPECT_EQ(known(store_), "a=x");
  store_.begin_replace();
  ASSERT_TRUE(put(api_pod("b", "2")).ok());
  store_.end_replace();
  EXPECT_EQ(known(store_), "b=x");  // what vanished meanwhile is gone
}

TEST_F(Store, SharesWhatIsTheSame) {
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  const auto before = store_.objects().begin()->second.object;
  store_.begin_replace();
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  EXPECT_EQ(before.use_count(), 3);  // ours, the old set's and the new one's
  ASSERT_TRUE(put(api_pod("a", "2")).ok());
  EXPECT_EQ(before.use_count(), 3) << "a later version that says nothing else";
  store_.end_replace();
  EXPECT_EQ(store_.objects().begin()->second.object, before);
}

TEST_F(Store, CountsOnlyChangesAsRevisions) {
  store_.begin_replace();
  store_.end_replace();
  const auto empty = store_.revision();
  EXPECT_EQ(empty, 1U);  // complete, if empty
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  EXPECT_EQ(store_.revision(), empty + 1);
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  store_.begin_replace();
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  store_.end_replace();
  store_.remove(*object_meta(api_pod("b", "1")));
  ASSERT_TRUE(put(api_pod("a", "2")).ok()) << "of which nothing is kept that is new";
  EXPECT_EQ(store_.objects().begin()->second.version, "2");
  store_.begin_replace();
  ASSERT_TRUE(put(api_pod("a", "3")).ok());
  store_.end_replace();
  EXPECT_EQ(store_.objects().begin()->second.version, "3");
  EXPECT_EQ(store_.revision(), empty + 1);
  ASSERT_TRUE(put(api_pod("a", "4", "y")).ok());
  EXPECT_EQ(store_.revision(), empty + 2);
  ASSERT_TRUE(put(api_pod("a", "5", "y", "uid-2")).ok()) << "another one by its name";
  EXPECT_EQ(store_.revision(), empty + 3);
}

TEST_F(Store, ForgetsWhatIsNoneOfOursAnyLonger) {
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  ASSERT_TRUE(put(api_pod("a", "2", "none")).ok());
  EXPECT_EQ(known(store_), "");
}

TEST_F(Store, KeepsTheLastVersionOfWhatCannotBeRead) {
  ASSERT_TRUE(put(api_pod("a", "1")).ok());
  nlohmann::json bad = api_pod("a", "2");
  bad["spec"]["value"] = 5;
  EXPECT_THAT(put(bad).error().message, HasSubstr("actual type is number"));
  EXPECT_EQ(known(store_), "a=x");
  store_.begin_replace();
  EXPECT_FALSE(put(bad).ok());
  store_.end_replace();
  EXPECT_EQ(known(store_), "a=x");
  bad["metadata"]["uid"] = "another";  // whose predecessor is gone for sure
  EXPECT_FALSE(put(bad).ok());
  EXPECT_EQ(known(store_), "");
}

TEST_F(Store, TellsObjectsOfOneNameApart) {
  ASSERT_TRUE(put(api_pod("a", "5", "new", "uid-2")).ok());
  store_.remove(*object_meta(api_pod("a", "6", "old", "uid-1")));
  EXPECT_EQ(known(store_), "a=new");
  store_.remove(*object_meta(api_pod("a", "7", "new", "uid-2")));
  EXPECT_EQ(known(store_), "");
}

TEST_F(Store, SaysWhenItIsFull) {
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(put(api_pod(name, "1")).ok());
  EXPECT_FALSE(store_.full());
  ASSERT_TRUE(put(api_pod("d", "1")).ok());
  EXPECT_TRUE(store_.full());
}

TEST(StoreBytes, OfAllTogetherAreBounded) {
  PodStore store(project_pod, 100, 20'000);
  const auto put = [&store](const char* name, const char* version, std::size_t bytes) {
    const auto object = api_pod(name, version, std::string(bytes, 'x'));
    ASSERT_TRUE(store.put(*object_meta(object), object).ok());
  };
  put("a", "1", 10);
  put("b", "1", 10);
  EXPECT_FALSE(store.full());
  put("b", "2", 20'000);
  EXPECT_TRUE(store.full());
  put("b", "3", 10);
  EXPECT_FALSE(store.full()) << "what was replaced counts no longer";
  store.begin_replace();
  put("c", "1", 20'000);
  EXPECT_TRUE(store.full()) << "the new set has the same bound";
  store.abandon_replace();
  EXPECT_FALSE(store.full());
  put("c", "1", 20'000);
  store.begin_replace();
  put("a", "1", 10);
  put("c", "1", 20'000);
  EXPECT_TRUE(store.full()) << "shared, and counted";
  const auto gone = api_pod("c", "1");
  store.remove(*object_meta(gone));
  EXPECT_FALSE(store.full());
  store.end_replace();
  EXPECT_FALSE(store.full());
  for (int time = 0; time < 100; ++time) {
    put("a", std::to_string(time + 2).c_str(), 1'000);
    store.remove(*object_meta(api_pod("b", "3")));
    put("b", std::to_string(time + 4).c_str(), 1'000);
  }
  EXPECT_FALSE(store.full()) << "what went counts no longer";
}

TEST(Json, IsWeighed) {
  const nlohmann::json small = {{"a", 1}};
  nlohmann::json large = small;
  large["b"] = std::string(1'000, 'x');
  EXPECT_GE(json_bytes(large), json_bytes(small) + 1'000);
  large[std::string(1'000, 'k')] = nullptr;
  EXPECT_GE(json_bytes(large), json_bytes(small) + 2'000);
  EXPECT_GE(json_bytes(nlohmann::json::parse("[[],[],[]]")), 4U * sizeof(nlohmann::json));
}

TEST(ObjectMeta, WantsWhatTheApiPromises) {
  EXPECT_TRUE(object_meta(api_pod("a", "1")).has_value());
  for (const char* field : {"name", "uid", "resourceVersion"}) {
    nlohmann::json pod = api_pod("a", "1");
    pod["metadata"].erase(field);
    EXPECT_FALSE(object_meta(pod)) << field;
    pod["metadata"][field] = 7;
    EXPECT_FALSE(object_meta(pod)) << field;
    pod["metadata"][field] = std::string(300, 'x');
    EXPECT_FALSE(object_meta(pod)) << field;
  }
  EXPECT_FALSE(object_meta(nlohmann::json::array()));
  EXPECT_FALSE(object_meta({{"metadata", "text"}}));
}

TEST(Json, IsBounded) {
  EXPECT_TRUE(parse_json("[1,2,3]", {4, 4}).has_value());
  EXPECT_FALSE(parse_json("[1,2,3,4]", {4, 4}));
  EXPECT_TRUE(parse_json("[[[[]]]]", {9, 4}).has_value());
  EXPECT_FALSE(parse_json("[[[[[]]]]]", {9, 4}));
  EXPECT_FALSE(parse_json(std::string(3'000'000, '['), {}));
}

TEST(Json, RefusesWhatIsNone) {
  for (const char* bad : {"", "{", "{}{}", "{\"a\":1e999}", "\"\xff\"", "{\"a\":\"\n\"}", "nul"})
    EXPECT_FALSE(parse_json(bad, {})) << bad;
}

TEST(Json, LeavesManagedFieldsOut) {
  const auto pod = api_pod("a", "1");
  const auto object = parse_json(pod.dump(), {}), event = parse_json(api_event("ADDED", pod), {}),
             list = parse_json(api_page({pod, pod}, "1"), {});
  ASSERT_TRUE(object && event && list);
  for (const auto* each : {&*object, &event->at("object"), &list->at("items").at(0), &list->at("items").at(1)}) {
    EXPECT_FALSE(each->at("metadata").contains("managedFields")) << *each;
    EXPECT_EQ(json_text(each->at("metadata"), "name"), "a");
    EXPECT_EQ(json_text(each->at("spec"), "value"), "x");
  }
}

// A label may be called so, and whoever is chosen by it is to be found.
TEST(Json, KeepsManagedFieldsElsewhere) {
  auto pod = api_pod("a", "1");
  const nlohmann::json named = {{"managedFields", "x"}};
  pod["metadata"]["labels"] = pod["metadata"]["annotations"] = pod["spec"]["selector"] = named;
  pod["spec"]["metadata"] = pod["spec"]["object"]["metadata"] = named;
  pod["spec"]["items"] = {{{"metadata", named}}};
  pod["managedFields"] = "x";
  pod["items"] = {{"a", {{"metadata", named}}}};
  auto kept = pod;
  kept["metadata"].erase("managedFields");
  const auto object = parse_json(pod.dump(), {}), event = parse_json(api_event("ADDED", pod), {}),
             list = parse_json(api_page({pod, pod}, "1"), {});
  ASSERT_TRUE(object && event && list);
  EXPECT_EQ(*object, kept);
  EXPECT_EQ(event->at("object"), kept);
  EXPECT_EQ(list->at("items"), nlohmann::json::array({kept, kept}));
}

}  // namespace
}  // namespace grantd
