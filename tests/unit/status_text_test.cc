#include "crd-sync/status/status_text.h"

#include "crd-sync/api/json.h"

#include <gmock/gmock.h>

#include <string>

namespace grantd {
namespace {

using namespace std::chrono_literals;

GrantStatus grant(const std::string& key, bool enforced, std::size_t endpoints = 1) {
  GrantStatus status;
  status.key = key;
  status.generation = 3;
  status.policy_id = 17;
  status.endpoints = endpoints;
  status.enforced = enforced;
  status.message = "policy 17 is in force";
  for (const char* type : {"Accepted", "RealmResolved", "Enforced"})
    status.conditions.push_back(
        {type, enforced ? ConditionState::True : ConditionState::False, "Reason", "why", 3, WallTime(100s)});
  status.policy = PolicyStatus{"Active", 8'000'000, 0, 65536, 0, {}, WallTime(1'767'225'600s), 4};
  return status;
}

NodeStatus node(std::vector<GrantStatus> grants) {
  NodeStatus status;
  status.node = "node-a";
  status.version = "0.1.0";
  status.attach = "tcx";
  status.grants = std::move(grants);
  return status;
}

nlohmann::json parsed(const std::string& text) {
  const auto json = parse_json(text, {1'000'000, 64});
  EXPECT_TRUE(json.has_value()) << text.substr(0, 200);
  return json.value_or(nlohmann::json::object());
}

TEST(StatusText, SaysWhatIsInForce) {
  const auto object = parsed(status_text(node({grant("keystone-system/g", true)})));
  const auto& told = object["status"]["grants"][0];
  EXPECT_EQ(object["metadata"]["name"], "node-a");
  EXPECT_EQ(told["namespace"], "keystone-system");
  EXPECT_EQ(told["name"], "g");
  EXPECT_EQ(told["policyID"], 17);
  EXPECT_EQ(told["policy"]["egressBitsPerSecond"], 8'000'000);
  EXPECT_FALSE(told["policy"].contains("ingressBitsPerSecond")) << "unlimited";
  EXPECT_EQ(told["policy"]["notAfter"], "2026-01-01T00:00:00Z");
  EXPECT_EQ(told["conditions"][2]["observedGeneration"], 3);
  EXPECT_EQ(object["status"]["summary"]["enforced"], 1);
  EXPECT_FALSE(object["status"].contains("message"));
}

TEST(StatusText, ComesBackAsItWas) {
  const NodeStatus back = parse_status(parsed(status_text(node({grant("a/g", true), grant("b/h", false)}))));
  ASSERT_EQ(back.grants.size(), 2U);
  ASSERT_NE(back.grant("b/h"), nullptr);
  EXPECT_EQ(back.grant("b/h")->generation, 3);
  EXPECT_EQ(back.grant("b/h")->policy_id, 17U);
  EXPECT_EQ(back.grant("b/h")->condition("Enforced")->state, ConditionState::False);
  EXPECT_EQ(back.grant("b/h")->condition("Enforced")->since, WallTime(100s));
}

TEST(StatusText, ReadsNothingFromWhatOthersWrote) {
  for (const char* text : {"{}", R"({"status":5})", R"({"status":{"grants":{}}})",
                           R"({"status":{"grants":[{"name":"g","policyID":-1,"conditions":[{"type":1}]}]}})"})
    for (const GrantStatus& each : parse_status(parsed(text)).grants) {
      EXPECT_EQ(each.policy_id, 0U);
      EXPECT_TRUE(each.conditions.empty());
    }
}

TEST(StatusText, StaysBelowItsBoundAndLeavesOutWhatIsWell) {
  std::vector<GrantStatus> grants;
  for (int number = 0; number < 4096; ++number)
    grants.push_back(grant("keystone-system/g" + std::to_string(10'000 + number), number % 1000 != 0));
  const std::string text = status_text(node(grants));
  EXPECT_LE(text.size(), kMostStatusBytes);
  const auto body = parsed(text)["status"];
  EXPECT_EQ(body["summary"]["grants"], 4096);
  EXPECT_EQ(body["summary"]["leftOut"].get<std::size_t>() + body["grants"].size(), 4096U);
  EXPECT_GT(body["grants"].size(), 500U);
  EXPECT_THAT(body["message"].get<std::string>(), testing::HasSubstr("not listed"));
  std::size_t broken = 0;
  for (const auto& each : body["grants"]) broken += each["enforced"] == false ? 1 : 0;
  EXPECT_EQ(broken, 5U) << "each that is not as it should be";
}

TEST(StatusText, TextOfOthersIsBoundedAndJson) {
  NodeStatus status = node({grant("a/g", false)});
  status.grants[0].message = "\xff" + std::string(10'000, 'x');
  for (int number = 0; number < 1000; ++number)
    status.quarantined.push_back({"guest-x/p" + std::to_string(number), std::string(2000, 'y')});
  const std::string text = status_text(status);
  EXPECT_LE(text.size(), kMostStatusBytes);
  const auto body = parsed(text)["status"];
  EXPECT_EQ(body["quarantined"].size(), kMostGuestsListed);
  EXPECT_EQ(body["summary"]["quarantined"], 1000);
  EXPECT_EQ(body["summary"]["leftOut"], 1000 - kMostGuestsListed);
  EXPECT_LE(body["grants"][0]["message"].get<std::string>().size(), 1030U);
}

TEST(KeepTransitions, OnlyAChangeOfStateIsOne) {
  NodeStatus before = node({grant("a/g", true)});
  NodeStatus same = node({grant("a/g", true)}), other = node({grant("a/g", false), grant("a/new", true)});
  same.grants[0].conditions[0].reason = "Another";
  keep_transitions(same, before, WallTime(200s));
  keep_transitions(other, before, WallTime(200s));
  EXPECT_EQ(same.grants[0].conditions[0].since, WallTime(100s));
  EXPECT_EQ(other.grants[0].conditions[0].since, WallTime(200s));
  EXPECT_EQ(other.grants[1].conditions[0].since, WallTime(200s));
}

}  // namespace
}  // namespace grantd
