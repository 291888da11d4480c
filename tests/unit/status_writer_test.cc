#include "crd-sync/status/status_writer.h"

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

constexpr const char* kObject = "/apis/keystone.io/v1alpha1/grantnodestatuses/node-a";
constexpr const char* kWho = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

// Whom the server takes the agent for.
std::string who(const std::string& node, const std::string& uid) {
  return R"({"status":{"userInfo":{"extra":{"authentication.kubernetes.io/node-name":[")" + node +
         R"("],"authentication.kubernetes.io/node-uid":[")" + uid + R"("]}}}})";
}

class StatusWriterTest : public AskedServer {
 protected:
  // Looked for and not found; not in a pod; made, and written once.
  void begin(const std::string& text) {
    writer_.want(text, false);
    answer(404, "{}", ApiErrorReason::NotFound);
    answer(201);
    answer(201);
    answer(200);
    ASSERT_TRUE(open_.empty());
  }
  void pass(std::chrono::milliseconds time) {
    now_ += time;
    writer_.drive();
  }

  StatusWriter writer_{"node-a", sends(), clock(), 1};
};

TEST_F(StatusWriterTest, LooksBeforeItWrites) {
  writer_.want("one", false);
  EXPECT_EQ(next().method + " " + next().path, std::string("GET ") + kObject);
  EXPECT_FALSE(writer_.ready());
  answer(200, R"({"status":{}})");
  EXPECT_TRUE(writer_.ready());
  ASSERT_TRUE(writer_.found().has_value());
  EXPECT_EQ(next().path, kWho);
  answer(201);
  EXPECT_THAT(next().path, HasSubstr(std::string(kObject) + "?fieldManager=grantd"));
  answer(200);
  EXPECT_THAT(next().path, HasSubstr(std::string(kObject) + "/status?"));
  EXPECT_EQ(next().method, "PATCH");
  EXPECT_EQ(next().content_type, "application/apply-patch+yaml");
  EXPECT_EQ(next().body, "one");
  EXPECT_EQ(writer_.counters().done, 0U);
  answer(200);
  EXPECT_EQ(writer_.counters().done, 1U);
}

TEST_F(StatusWriterTest, TheObjectGoesWithItsOwnNodeOnly) {
  for (const auto& [node, owned] : {std::pair{"node-a", true}, {"node-b", false}}) {
    StatusWriter writer(
        "node-a",
        [this](const ApiRequest& request, ApiClient::Done done) { open_.emplace_back(request, std::move(done)); },
        [this] { return now_; }, 1);
    writer.want("x", false);
    answer(404, "{}", ApiErrorReason::NotFound);
    answer(201, who(node, "u-1"));
    const auto made = parse_json(next().body, {});
    ASSERT_TRUE(made.has_value());
    EXPECT_EQ((*made)["metadata"].contains("ownerReferences"), owned) << node;
    if (owned) {
      EXPECT_EQ((*made)["metadata"]["ownerReferences"][0]["uid"], "u-1");
    }
    open_.clear();
  }
}

TEST_F(StatusWriterTest, WritesTheNewestOnceInFiveSeconds) {
  begin("0");
  for (int edit = 1; edit <= 50; ++edit) {
    pass(98ms);
    writer_.want(std::to_string(edit), false);
    EXPECT_TRUE(open_.empty()) << edit;
  }
  EXPECT_EQ(writer_.due(), now_ + 100ms);
  pass(100ms);
  ASSERT_EQ(open_.size(), 1U);
  EXPECT_EQ(next().body, "50");
  answer(200);
  pass(1min);
  EXPECT_TRUE(open_.empty()) << "the same is not written twice";
}

TEST_F(StatusWriterTest, WhatBrokeWaitsForASecondOnly) {
  begin("well");
  pass(999ms);
  writer_.want("broken", true);
  EXPECT_TRUE(open_.empty());
  pass(1ms);
  EXPECT_EQ(next().body, "broken");
}

TEST_F(StatusWriterTest, KeepsTheNewestWhileTheServerIsAway) {
  begin("0");
  pass(6s);
  writer_.want("1", false);
  answer(500);
  EXPECT_EQ(writer_.counters().failed, 1U);
  EXPECT_EQ(writer_.counters().last_error, "said no");
  writer_.want("2", false);
  EXPECT_TRUE(open_.empty()) << "it waits";
  pass(30s);
  EXPECT_EQ(next().body, "2");
  answer(200);
  EXPECT_EQ(writer_.counters().last_error, "");
}

TEST_F(StatusWriterTest, MakesAgainWhatSomebodyRemoved) {
  begin("0");
  pass(6s);
  writer_.want("1", false);
  answer(404, "{}", ApiErrorReason::NotFound);
  pass(30s);
  EXPECT_EQ(next().path, kWho);
  answer(201);
  EXPECT_THAT(next().path, HasSubstr("node-a?fieldManager"));
  answer(201);
  pass(6s);
  EXPECT_EQ(next().body, "1");
  answer(200);
  // Nothing changes, and it is removed: the next look finds that.
  pass(10min);
  EXPECT_EQ(next().method, "GET");
  answer(404, "{}", ApiErrorReason::NotFound);
  EXPECT_EQ(next().path, kWho);
  answer(201);
  EXPECT_THAT(next().path, HasSubstr("node-a?fieldManager"));
  answer(201);
  EXPECT_EQ(next().body, "1");
}

// The garbage collector removes what is owned by a Node that is gone, also where another one has its name.
TEST_F(StatusWriterTest, TheObjectGoesWithTheNodeThatIsThereNow) {
  writer_.want("0", false);
  answer(404, "{}", ApiErrorReason::NotFound);
  answer(201, who("node-a", "u-1"));
  answer(201);
  answer(200);
  for (const char* uid : {"u-2", "u-3"}) {
    if (uid == std::string("u-2")) {
      pass(6s);
      writer_.want("1", false);
    } else {
      pass(10min);
    }
    answer(404, "{}", ApiErrorReason::NotFound);  // of a write, and of a look
    pass(30s);
    answer(201, who("node-a", uid));
    const auto made = parse_json(next().body, {});
    ASSERT_TRUE(made.has_value()) << uid;
    EXPECT_EQ((*made)["metadata"]["ownerReferences"][0]["uid"], uid);
    answer(201);
    pass(6s);
    answer(200);
    ASSERT_TRUE(open_.empty()) << uid;
  }
}

TEST_F(StatusWriterTest, WhoMayNotLookMayStillWrite) {
  writer_.want("one", false);
  answer(403, "{}", ApiErrorReason::Forbidden);
  answer(403, "{}", ApiErrorReason::Forbidden);
  answer(201);
  EXPECT_EQ(next().body, "one");
}

}  // namespace
}  // namespace grantd
