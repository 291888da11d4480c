#include "crd-sync/status/event_sender.h"

#include "crd-sync/api/json.h"
#include "tests/unit/asked_server.h"

#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

Occasion quarantine(const std::string& uid = "u-1", const std::string& state = "no Grant") {
  return {{"v1", "Pod", "guest-bob", "web", uid}, "Quarantined", "", state, "In quarantine: " + state};
}

Occasion about_grant() {
  return {{"keystone.io/v1alpha1", "Grant", "keystone-system", "g", "u-g"}, "GrantExpiresSoon", "", "", ""};
}

class EventSenderTest : public AskedServer {
 protected:
  EventSender sender_{"node-a", sends(), clock(), [] { return WallTime(1'767'225'600s); }, 1};
};

TEST_F(EventSenderTest, SaysWhatAPersonSees) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  ASSERT_EQ(open_.size(), 1U);
  const ApiRequest& request = open_.front().first;
  EXPECT_EQ(request.method + " " + request.path, "POST /api/v1/namespaces/guest-bob/events");
  const auto event = parse_json(request.body, {});
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ((*event)["involvedObject"]["uid"], "u-1");
  EXPECT_EQ((*event)["reason"], "Quarantined");
  EXPECT_EQ((*event)["type"], "Warning");
  EXPECT_EQ((*event)["message"], "In quarantine: no Grant");
  EXPECT_EQ((*event)["source"]["host"], "node-a");
  EXPECT_EQ((*event)["firstTimestamp"], "2026-01-01T00:00:00Z");
  EXPECT_EQ((*event)["metadata"]["name"], event_name("node-a", quarantine()));
}

TEST_F(EventSenderTest, OnceAnHourWhileItLasts) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(201, R"({"count":1})");
  now_ += 59min;
  EXPECT_FALSE(sender_.offer(quarantine()));
  now_ += 1min;
  EXPECT_TRUE(sender_.offer(quarantine()));
  EXPECT_EQ(open_.front().first.method, "PATCH");
  EXPECT_THAT(open_.front().first.path, HasSubstr("/events/" + event_name("node-a", quarantine())));
  EXPECT_THAT(open_.front().first.body, HasSubstr("\"count\":2"));
  answer(200, R"({"count":2})");
  EXPECT_EQ(sender_.counters().done, 2U);
}

TEST_F(EventSenderTest, AnotherReasonIsToldWithinAMinute) {
  EXPECT_TRUE(sender_.offer(quarantine("u-1", "no Grant")));
  answer(201);
  now_ += 59s;
  EXPECT_FALSE(sender_.offer(quarantine("u-1", "refused")));
  now_ += 1s;
  EXPECT_TRUE(sender_.offer(quarantine("u-1", "refused")));
  EXPECT_THAT(open_.front().first.body, HasSubstr("In quarantine: refused"));
}

TEST_F(EventSenderTest, AnotherAgentsEventIsTakenOver) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(409, "{}", ApiErrorReason::Refused);
  ASSERT_EQ(open_.size(), 1U);
  EXPECT_EQ(open_.front().first.method, "PATCH");
  EXPECT_THAT(open_.front().first.body, testing::Not(HasSubstr("count")));
  answer(200, R"({"count":7})");
  EXPECT_EQ(sender_.counters().failed, 0U);
}

// Who may make Events in the namespace could be there first, also in our name.
TEST_F(EventSenderTest, WhatStandsUnderItsNameSaysAllOfIt) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  const auto made = parse_json(open_.front().first.body, {});
  answer(409, "{}", ApiErrorReason::Refused);
  const auto changed = parse_json(next().body, {});
  ASSERT_TRUE(made.has_value() && changed.has_value());
  for (const char* name : {"involvedObject", "reason", "type", "message", "source"})
    EXPECT_EQ((*changed)[name], (*made)[name]) << name;
}

TEST_F(EventSenderTest, AnothersEventUnderItsNameSilencesNothing) {
  for (const auto& [status, reason] :
       {std::pair(403, ApiErrorReason::Forbidden), std::pair(422, ApiErrorReason::Refused)}) {
    const Occasion occasion = quarantine("u-" + std::to_string(status));
    EXPECT_TRUE(sender_.offer(occasion));
    answer(409, "{}", ApiErrorReason::Refused);
    answer(status, "{}", reason);
    EXPECT_EQ(next().method, "POST");
    const auto event = parse_json(next().body, {});
    ASSERT_TRUE(event.has_value());
    const std::string name = event_name("node-a", occasion);
    EXPECT_EQ((*event)["metadata"], nlohmann::json({{"namespace", "guest-bob"}, {"generateName", name + "-"}}));
    EXPECT_EQ((*event)["message"], "In quarantine: no Grant");
    answer(201, R"({"metadata":{"name":"web.x-7k2xz"},"count":1})");
    EXPECT_TRUE(open_.empty());
    now_ += 1h;
    EXPECT_TRUE(sender_.offer(occasion));
    EXPECT_EQ(next().method + " " + next().path, "PATCH /api/v1/namespaces/guest-bob/events/web.x-7k2xz");
    answer(200);
  }
  EXPECT_EQ(sender_.counters().failed, 0U);
}

TEST_F(EventSenderTest, WhereNoneCanBeMadeBesideItIsTriedOnce) {
  for (const int status : {403, 409}) {
    EXPECT_TRUE(sender_.offer(quarantine("u-" + std::to_string(status))));
    answer(409, "{}", ApiErrorReason::Refused);
    answer(403, "{}", ApiErrorReason::Forbidden);
    answer(status, "{}", status == 403 ? ApiErrorReason::Forbidden : ApiErrorReason::Refused);
    EXPECT_TRUE(open_.empty());
  }
  EXPECT_EQ(sender_.counters().failed, 2U);
}

TEST_F(EventSenderTest, WhatTheServerForgotIsMadeAgain) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(201);
  now_ += 1h;
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(404, "{}", ApiErrorReason::NotFound);
  ASSERT_EQ(open_.size(), 1U);
  EXPECT_EQ(open_.front().first.method, "POST");
}

TEST_F(EventSenderTest, AServerThatIsAwayGetsItLater) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(0, "", ApiErrorReason::Connection);
  EXPECT_EQ(sender_.counters().failed, 1U);
  EXPECT_FALSE(sender_.offer(quarantine())) << "it waits";
  now_ += 30s;
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(201);
  EXPECT_EQ(sender_.counters().last_error, "");
}

TEST_F(EventSenderTest, WhoMayNotIsNotAskedAgainForAnHour) {
  EXPECT_TRUE(sender_.offer(quarantine()));
  answer(403, "{}", ApiErrorReason::Forbidden);
  now_ += 30min;
  EXPECT_FALSE(sender_.offer(quarantine()));
  now_ += 30min;
  EXPECT_TRUE(sender_.offer(quarantine()));
}

TEST_F(EventSenderTest, AFloodIsHeldBackAndToldLater) {
  int told = 0;
  for (int pod = 0; pod < 1000; ++pod) {
    if (!sender_.offer(quarantine("u-" + std::to_string(pod)))) continue;
    ++told;
    answer(201);
  }
  EXPECT_EQ(told, 25);
  EXPECT_EQ(sender_.counters().held_back, 975U);
  now_ += 2s;
  EXPECT_TRUE(sender_.offer(quarantine("u-999")));
}

TEST_F(EventSenderTest, AFloodHoldsBackNothingOfOtherNamespaces) {
  int told = 0;
  for (int pod = 0; pod < 100; ++pod) told += sender_.offer(quarantine("u-" + std::to_string(pod))) ? 1 : 0;
  EXPECT_EQ(told, 25);
  EXPECT_TRUE(sender_.offer(about_grant()));
  EXPECT_EQ(open_.size(), 4U);
  answer(201);
  ASSERT_EQ(open_.size(), 4U);
  EXPECT_EQ(open_.back().first.path, "/api/v1/namespaces/keystone-system/events") << "the next one";
  // Nor is the flood's own limit forgotten meanwhile.
  EXPECT_FALSE(sender_.offer(quarantine("u-102")));
  while (!open_.empty()) {
    EXPECT_LE(open_.size(), 4U);
    answer(201);
  }
  EXPECT_EQ(sender_.counters().done, 26U);
  EXPECT_EQ(sender_.counters().held_back, 76U);
}

// All the while no answer comes.
TEST_F(EventSenderTest, WhatWaitsIsBounded) {
  std::size_t told = 0;
  for (int space = 0; space < 30; ++space)
    for (int pod = 0; pod < 30; ++pod) {
      Occasion occasion = quarantine("u-" + std::to_string(space) + "-" + std::to_string(pod));
      occasion.about.namespace_name = "guest-" + std::to_string(space);
      told += sender_.offer(occasion) ? 1U : 0U;
    }
  EXPECT_EQ(told, EventSender::kMostOpen + EventSender::kMostWaiting);
  EXPECT_EQ(sender_.counters().held_back, 30U * 30U - told) << "for want of a place too";
  EXPECT_EQ(open_.size(), EventSender::kMostOpen);
}

// Its bucket fills again while nobody answers; its places do not.
TEST_F(EventSenderTest, ANamespaceLeavesPlacesToOthers) {
  std::size_t told = 0;
  for (int pod = 0; pod < 1000; ++pod, now_ += 2s)
    told += sender_.offer(quarantine("u-" + std::to_string(pod))) ? 1U : 0U;
  EXPECT_EQ(told, EventSender::kMostOpen + EventSender::kMostWaitingOfEach);
  EXPECT_TRUE(sender_.offer(about_grant()));
}

TEST_F(EventSenderTest, WhatWaitsForAServerThatIsAwayIsOfferedAgain) {
  for (int pod = 0; pod < 10; ++pod) EXPECT_TRUE(sender_.offer(quarantine("u-" + std::to_string(pod))));
  for (int request = 0; request < 4; ++request) answer(0, "", ApiErrorReason::Connection);
  EXPECT_TRUE(open_.empty());
  now_ += 30s;
  EXPECT_TRUE(sender_.offer(quarantine("u-9")));
  EXPECT_EQ(open_.size(), 1U) << "what holds no longer is told no more";
}

TEST_F(EventSenderTest, IsSettledOnceTheServerHasItOrNeverTakesIt) {
  std::vector<std::string> settled;
  const auto offered = [&](const std::string& uid) {
    return sender_.offer(quarantine(uid), [&settled, uid] { settled.push_back(uid); });
  };
  for (const char* uid : {"a", "b", "c", "d", "waits"}) EXPECT_TRUE(offered(uid));
  EXPECT_TRUE(settled.empty());
  answer(201, "{}");
  answer(403, "", ApiErrorReason::Forbidden);
  EXPECT_EQ(settled, (std::vector<std::string>{"a", "b"}));
  answer(0, "", ApiErrorReason::Connection);  // of c, with which all that waits is forgotten
  now_ += 30s;
  EXPECT_TRUE(offered("c"));
  EXPECT_TRUE(offered("waits") || open_.size() > 2U) << "it was on its way already";
  while (!open_.empty()) answer(201, "{}");
  EXPECT_EQ(std::count(settled.begin(), settled.end(), "c"), 1);
  EXPECT_EQ(std::count(settled.begin(), settled.end(), "waits"), 1);
}

TEST_F(EventSenderTest, AServerThatIsAwayTakesNoTokensOfWhatWaits) {
  for (int pod = 0; pod < 25; ++pod) EXPECT_TRUE(sender_.offer(quarantine("u-" + std::to_string(pod))));
  for (int request = 0; request < 4; ++request) answer(0, "", ApiErrorReason::Connection);
  EXPECT_EQ(open_.size(), 0U);
  now_ += 10s;  // in which a bucket gets five
  int told = 0;
  for (int pod = 0; pod < 25; ++pod) told += sender_.offer(quarantine("u-" + std::to_string(pod))) ? 1 : 0;
  EXPECT_EQ(told, 25);
}

TEST_F(EventSenderTest, TextsAreBounded) {
  Occasion occasion = quarantine();
  occasion.about.name = std::string(253, 'n');
  occasion.message = std::string(5000, 'm');
  EXPECT_LE(event_name("node-a", occasion).size(), 253U);
  EXPECT_TRUE(sender_.offer(occasion));
  const auto event = parse_json(open_.front().first.body, {});
  ASSERT_TRUE(event.has_value());
  EXPECT_LE((*event)["message"].get<std::string>().size(), 1024U);
}

// Some Event of a text is never one that the server refuses, or reads as another.
TEST_F(EventSenderTest, NoLetterIsCutThrough) {
  for (const std::string letter : {"\u00e4", "\u20ac", "\U0001f6d1"})
    for (std::size_t before = 0; before < letter.size(); ++before) {
      Occasion occasion = quarantine("u-" + letter + std::to_string(before));
      occasion.message = std::string(before, 'm');
      while (occasion.message.size() < 1100) occasion.message += letter;
      ASSERT_TRUE(sender_.offer(occasion));
      const auto event = parse_json(open_.front().first.body, {});
      ASSERT_TRUE(event.has_value());
      const std::string told = (*event)["message"].get<std::string>();
      EXPECT_THAT(told, testing::EndsWith(letter + "..."));
      EXPECT_THAT(told, testing::Not(HasSubstr("\uFFFD")));
      EXPECT_GT(told.size(), 1000U - 3 - letter.size());
      EXPECT_LE(told.size(), 1000U);
      answer(201);
    }
}

TEST(EventName, TellsNodesAndOccasionsApart) {
  Occasion other = quarantine();
  other.detail = "egress";
  EXPECT_EQ(event_name("a", quarantine()), event_name("a", quarantine()));
  EXPECT_NE(event_name("a", quarantine()), event_name("b", quarantine()));
  EXPECT_NE(event_name("a", quarantine()), event_name("a", quarantine("u-2")));
  EXPECT_NE(event_name("a", quarantine()), event_name("a", other));
}

}  // namespace
}  // namespace grantd
