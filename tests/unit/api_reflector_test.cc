// The reflector against a transport and a clock that the test plays.
#include "tests/unit/reflector_fixture.h"

#include <gmock/gmock.h>
#include <rapidcheck/gtest.h>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using Reason = ApiErrorReason;

TEST_F(ReflectorTest, AsksForAStreamingListFirst) {
  const std::string path = request();
  EXPECT_THAT(path, testing::StartsWith("/api/v1/pods?watch=1&allowWatchBookmarks=true&sendInitialEvents=true"
                                        "&resourceVersionMatch=NotOlderThan&fieldSelector="
                                        "spec.nodeName%3Dnode-a%2Cstatus.phase%21%3DFailed&timeoutSeconds="));
  EXPECT_FALSE(reflector_.next(now_).has_value());  // one at a time
}

TEST_F(ReflectorTest, CountsTheInitialEventsOnlyWhenTheyAreWhole) {
  request();
  head();
  EXPECT_TRUE(data(api_event("ADDED", api_pod("a", "1")) + api_bookmark("1")));
  EXPECT_FALSE(store_.complete());
  EXPECT_EQ(known(store_), "");
  EXPECT_FALSE(reflector_.counters().following);
  EXPECT_TRUE(data(api_bookmark("2", true)));
  EXPECT_TRUE(store_.complete());
  EXPECT_EQ(known(store_), "a=x");
  EXPECT_TRUE(reflector_.counters().following);
}

TEST_F(ReflectorTest, FollowsTheSameStream) {
  follow();
  EXPECT_TRUE(data(api_event("MODIFIED", api_pod("a", "3", "y")) + api_event("DELETED", api_pod("b", "4"))));
  EXPECT_TRUE(data(api_event("ADDED", api_pod("c", "5"))));
  EXPECT_EQ(known(store_), "a=y c=x");
}

TEST_F(ReflectorTest, GoesOnWhereTheStreamEnded) {
  follow();
  data(api_event("MODIFIED", api_pod("a", "opaque/3", "y")));
  now_ += 5min;
  end();
  EXPECT_EQ(wait(), 0s);  // that is how watches end
  const std::string path = request();
  EXPECT_THAT(path, HasSubstr("resourceVersion=opaque%2F3"));
  EXPECT_THAT(path, Not(HasSubstr("sendInitialEvents")));
  head();
  EXPECT_TRUE(data(api_bookmark("9")));
  now_ += 5min;
  end();
  EXPECT_THAT(request(), HasSubstr("resourceVersion=9"));
  EXPECT_EQ(reflector_.counters().relists(), 0U);
}

TEST_F(ReflectorTest, SlowsDownWhenStreamsEndTooSoon) {
  follow();
  end();
  EXPECT_EQ(wait(), 0s);
  ApiTime::duration last = 0s;
  for (int round = 0; round < 8; ++round) {
    request();
    head();
    end();
    last = wait();
  }
  EXPECT_GE(last, 15s);
  EXPECT_LE(last, 30s);
}

TEST_F(ReflectorTest, BacksOffAndStartsAnewAfterAHealthySpell) {
  follow();
  now_ += 1min;
  broken(Reason::Connection);
  for (int round = 0; round < 10; ++round) {
    EXPECT_GT(wait(), 0s);
    EXPECT_LE(wait(), 30s);
    request();
    broken(Reason::Connection, 0);
  }
  EXPECT_GE(wait(), 15s);
  EXPECT_EQ(known(store_), "a=x b=x");  // what was known stays
  EXPECT_EQ(reflector_.counters().relists(), 0U);
  EXPECT_THAT(request(), HasSubstr("resourceVersion=2"));
  head();
  now_ += 11s;
  broken(Reason::Cut);
  EXPECT_LE(wait(), 800ms);
  EXPECT_GE(wait(), 400ms);
}

TEST_F(ReflectorTest, NeverAppliesHalfADocument) {
  follow();
  const std::string event = api_event("MODIFIED", api_pod("a", "3", "y"));
  EXPECT_TRUE(data(event.substr(0, event.size() - 1)));  // only the end of the line is missing
  end();
  EXPECT_EQ(known(store_), "a=x b=x");
  EXPECT_EQ(errors(Reason::Cut), 1U);
  EXPECT_THAT(request(), HasSubstr("resourceVersion=2&"));
  head();
  EXPECT_TRUE(data(event));  // no leftover of the last stream before it
  EXPECT_EQ(known(store_), "a=y b=x");
}

TEST_F(ReflectorTest, ReplacesTheSetAtOnceAfterGoneAsAStatus) {
  follow();
  now_ += 1min;
  end();
  request();
  answer(410, api_status(410, "too old resource version"));
  EXPECT_EQ(errors(Reason::Gone), 1U);
  EXPECT_THAT(reflector_.counters().last_error, HasSubstr("too old resource version"));
  EXPECT_EQ(known(store_), "a=x b=x");
  EXPECT_THAT(request(), HasSubstr("sendInitialEvents=true"));
  head();
  data(api_event("ADDED", api_pod("c", "8")));
  EXPECT_EQ(known(store_), "a=x b=x");
  data(api_bookmark("9", true));
  EXPECT_EQ(known(store_), "c=x");
  EXPECT_EQ(reflector_.counters().relists(), 1U);
}

TEST_F(ReflectorTest, ReplacesTheSetAfterGoneAsAnEvent) {
  follow();
  now_ += 1min;
  EXPECT_FALSE(data(api_event("ERROR", nlohmann::json::parse(api_status(410, "too old")))));
  end();
  EXPECT_EQ(wait(), 0s);  // once at once
  EXPECT_THAT(request(), HasSubstr("sendInitialEvents=true"));
  head();
  data(api_event("ADDED", api_pod("a", "8")) + api_bookmark("9", true));
  EXPECT_EQ(known(store_), "a=x");
  data(api_event("ERROR", nlohmann::json::parse(api_status(410, "too old"))));
  end();
  EXPECT_GT(wait(), 0s);
}

TEST_F(ReflectorTest, DoubtsItsVersionAfterAnErrorAsAnEvent) {
  const auto told = [this](int status) {
    follow();
    now_ += 1min;
    EXPECT_FALSE(data(api_event("ERROR", nlohmann::json::parse(api_status(status, "event with PrevKv=nil")))));
    end();
    EXPECT_GT(wait(), 0s);
    EXPECT_EQ(known(store_), "a=x b=x");
    return reflector_.next(reflector_.due())->path;
  };
  EXPECT_THAT(told(500), HasSubstr("sendInitialEvents=true"));
  broken(Reason::Cut);
  EXPECT_THAT(told(429), HasSubstr("resourceVersion=2"));  // busy, and no more than that
}

TEST_F(ReflectorTest, AsksAtOnceAServerThatWasAwayAndHasForgotten) {
  follow();
  now_ += 1min;
  for (int round = 0; round < 7; ++round) {
    broken(Reason::Connection, 0);
    request();
  }
  const auto forget = [this] {
    answer(410, api_status(410, "too old resource version"));
    return wait();
  };
  EXPECT_EQ(forget(), 0s);
  EXPECT_THAT(request(), HasSubstr("sendInitialEvents=true"));
  EXPECT_GT(forget(), 10s) << "once";
}

TEST_F(ReflectorTest, KeepsTheOldSetWhenARelistIsCut) {
  follow();
  data(api_event("ERROR", nlohmann::json::parse(api_status(410, "too old"))));
  end();
  for (int round = 0; round < 3; ++round) {
    request();
    head();
    data(api_event("ADDED", api_pod("c", "8")));
    broken(Reason::Cut);
    EXPECT_EQ(known(store_), "a=x b=x");
  }
}

TEST_F(ReflectorTest, KeepsNothingOfARelistThatIsCut) {
  follow();
  data(api_event("ERROR", nlohmann::json::parse(api_status(410, "too old"))));
  end();
  const auto object = store_.objects().begin()->second.object;
  request();
  head();
  data(api_event("ADDED", api_pod("a", "1")));
  EXPECT_EQ(object.use_count(), 3);
  broken(Reason::Cut);
  EXPECT_EQ(object.use_count(), 2);
}

TEST_F(ReflectorTest, WaitsAsLongAsAThrottlingServerAsks) {
  follow();
  now_ += 1min;
  end();
  request();
  answer(429, api_status(429, "too many requests"), 7s);
  EXPECT_EQ(wait(), 7s);
  EXPECT_EQ(errors(Reason::Throttled), 1U);
  EXPECT_THAT(request(), HasSubstr("resourceVersion=2"));  // and goes on where it was
  answer(429, "", std::chrono::hours(24));
  EXPECT_EQ(wait(), 120s);
}

TEST_F(ReflectorTest, TellsRefusalsApart) {
  for (const auto& [status, reason] : std::vector<std::pair<int, Reason>>{{401, Reason::Unauthorized},
                                                                          {403, Reason::Forbidden},
                                                                          {404, Reason::NotFound},
                                                                          {500, Reason::Server},
                                                                          {503, Reason::Server},
                                                                          {301, Reason::Refused}}) {
    request();
    answer(status, api_status(status, "no\x1b[31m"));
    EXPECT_EQ(errors(reason), status == 503 ? 2U : 1U) << status;
    EXPECT_GT(wait(), 0s);
    EXPECT_THAT(reflector_.counters().last_error, Not(HasSubstr("\x1b")));
    EXPECT_THAT(reflector_.due(), testing::Gt(now_));
  }
  EXPECT_THAT(request(), HasSubstr("sendInitialEvents=true"));
}

TEST_F(ReflectorTest, DoubtsItsVersionAfterManyBadAnswers) {
  follow();
  end();
  for (int round = 0; round < 5; ++round) {
    EXPECT_THAT(request(), HasSubstr("resourceVersion=2"));
    answer(504, api_status(504, "Too large resource version"));
  }
  EXPECT_EQ(known(store_), "a=x b=x");
  EXPECT_THAT(request(), HasSubstr("sendInitialEvents=true"));
}

class Garbage : public ReflectorTest, public testing::WithParamInterface<std::string> {};

TEST_P(Garbage, ChangesNothing) {
  follow();
  EXPECT_FALSE(data(GetParam() + "\n" + api_event("DELETED", api_pod("a", "3"))));
  EXPECT_FALSE(data(api_event("DELETED", api_pod("a", "3"))));  // nor anything that follows
  end();
  EXPECT_EQ(known(store_), "a=x b=x");
  EXPECT_EQ(errors(Reason::Garbage), 1U);
  EXPECT_THAT(request(), HasSubstr("resourceVersion=2"));
}

INSTANTIATE_TEST_SUITE_P(
    Answers, Garbage,
    testing::Values("<html>", "{", "null", "[]", "{}", "{\"type\":\"ADDED\"}", "{\"type\":\"ADDED\",\"object\":[]}",
                    "{\"type\":\"ADDED\",\"object\":{}}", "{\"type\":\"DELETED\",\"object\":{}}",
                    "{\"type\":\"BOOKMARK\",\"object\":{}}", "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":5}}",
                    "{\"type\":7,\"object\":{}}", "{\"type\":\"REPLACED\",\"object\":{}}",
                    "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Secret\",\"metadata\":{\"name\":\"n\",\"uid\":\"u\","
                    "\"resourceVersion\":\"1\"}}}",
                    std::string(100, '[') + std::string(100, ']'), "\"\xff\"", api_bookmark(std::string(129, '3'))));

TEST_F(ReflectorTest, CountsAnObjectThatCannotBeReadAndGoesOn) {
  follow();
  nlohmann::json bad = api_pod("a", "3");
  bad["spec"] = "none";
  EXPECT_TRUE(data(api_event("MODIFIED", bad) + api_event("MODIFIED", api_pod("b", "4", "y"))));
  EXPECT_EQ(known(store_), "a=x b=y");
  EXPECT_EQ(errors(Reason::Object), 1U);
  EXPECT_THAT(reflector_.counters().last_error, HasSubstr("guest-bob/a"));
}

TEST_F(ReflectorTest, NamesKindAndSizeOfADocumentAboveTheBound) {
  follow();
  EXPECT_FALSE(data(api_event("MODIFIED", api_pod("a", "3", std::string(5000, 'y')))));
  end();
  EXPECT_EQ(errors(Reason::TooLarge), 1U);
  EXPECT_THAT(reflector_.counters().last_error, HasSubstr("Pod: an event of more than 4000 bytes"));
  EXPECT_EQ(known(store_), "a=x b=x");
}

TEST_F(ReflectorTest, KeepsNoMoreObjectsThanAreAllowed) {
  follow();
  for (int pod = 0; pod < 500; ++pod)
    if (!data(api_event("ADDED", api_pod("p" + std::to_string(pod), std::to_string(pod + 10))))) break;
  end();
  EXPECT_EQ(errors(Reason::TooMany), 1U);
  EXPECT_LE(store_.objects().size(), 101U);
}

TEST_F(ReflectorTest, KeepsNoMoreBytesThanAreAllowed) {
  follow();
  std::size_t bytes = 0;
  for (int pod = 0; pod < 90; ++pod) {
    if (!data(
            api_event("ADDED", api_pod("p" + std::to_string(pod), std::to_string(pod + 10), std::string(3'500, 'y')))))
      break;
    bytes += 3'500;
  }
  end();
  EXPECT_EQ(errors(Reason::TooMany), 1U);
  EXPECT_LE(bytes, 400'000U);
  EXPECT_EQ(store_.objects().begin()->first.name, "a") << "what was known stays";
}

// It would go into the text of an error, whose message is at its end.
TEST_F(ReflectorTest, ReadsNoMoreOfAnErrorsBodyThanItsBound) {
  follow();
  end();
  request();
  head(500);
  const std::string body = nlohmann::json{{"a", std::string(20'000, 'y')}, {"message", "told"}}.dump();
  EXPECT_TRUE(data(body.substr(0, 10'000)));
  EXPECT_TRUE(data(body.substr(10'000)));
  end(500);
  EXPECT_THAT(reflector_.counters().last_error, Not(HasSubstr("told")));
  EXPECT_LE(reflector_.counters().last_error.size(), 400U);
  request();
  answer(500, R"({"message":"told"})");
  EXPECT_THAT(reflector_.counters().last_error, HasSubstr("told"));
}

TEST_F(ReflectorTest, GivesUpOnInitialEventsWithoutAnEnd) {
  request();
  head();
  data(api_event("ADDED", api_pod("a", "1")));
  EXPECT_FALSE(reflector_.overdue(now_));
  EXPECT_EQ(wait(), 60s);
  now_ += 60s;
  EXPECT_TRUE(reflector_.overdue(now_));
  broken(Reason::TimedOut);
  EXPECT_THAT(request(), HasSubstr("limit=100"));  // perhaps this server does not know how to end them
}

TEST_F(ReflectorTest, LearnsNothingAboutListsFromAServerThatIsAway) {
  request();
  broken(Reason::TimedOut, 0);
  EXPECT_THAT(request(), HasSubstr("sendInitialEvents=true"));
}

TEST_F(ReflectorTest, GivesUpOnAnEventThatTricklesIn) {
  follow();
  EXPECT_EQ(reflector_.due(), ApiTime::max());
  EXPECT_TRUE(data("{\"type\""));
  now_ += 30s;
  EXPECT_TRUE(data(":"));
  EXPECT_EQ(wait(), 30s);
  now_ += 30s;
  EXPECT_TRUE(reflector_.overdue(now_));
  broken(Reason::TimedOut);
  EXPECT_THAT(request(), HasSubstr("resourceVersion=2&"));
  head();
  EXPECT_TRUE(data(api_event("MODIFIED", api_pod("a", "3", "y"))));
  EXPECT_EQ(reflector_.due(), ApiTime::max());
}

TEST_F(ReflectorTest, ABookmarkOfAnotherKindEndsNoList) {
  const nlohmann::json metadata = {{"resourceVersion", "2"}, {"annotations", {{"k8s.io/initial-events-end", "true"}}}};
  for (const auto& [version, kind] : {std::pair{"v1", "Grant"}, {"x/v1", "Pod"}, {"", ""}}) {
    request();
    head();
    EXPECT_FALSE(data(api_event("BOOKMARK", {{"kind", kind}, {"apiVersion", version}, {"metadata", metadata}})));
    end();
    EXPECT_FALSE(store_.complete()) << kind;
  }
  EXPECT_EQ(errors(Reason::Garbage), 3U);
}

TEST_F(ReflectorTest, TellsHowOldItsKnowledgeIs) {
  EXPECT_FALSE(reflector_.counters().lag(now_).has_value());
  follow();
  now_ += 1min;
  EXPECT_EQ(reflector_.counters().lag(now_), ApiTime::duration(0s));
  broken(Reason::Connection);
  EXPECT_EQ(reflector_.counters().last_contact, ApiTime(1000s));
  EXPECT_EQ(reflector_.counters().lag(now_ + 40s), ApiTime::duration(40s));
  request();
  head();
  EXPECT_EQ(reflector_.counters().lag(now_), ApiTime::duration(0s));
}

// It is opened anew each time, and nothing comes past what breaks it.
TEST_F(ReflectorTest, AStreamThatBreaksAtTheSameEventIsNotFollowed) {
  follow();
  now_ += 1min;
  broken(Reason::Cut);
  const ApiTime last = now_;
  ApiTime second{};
  for (int round = 0; round < 3; ++round) {
    request();
    head();
    EXPECT_EQ(reflector_.counters().lag(now_), round == 0 ? 0s : now_ - second) << round;
    EXPECT_FALSE(data("{}\n"));
    end();
    if (round == 0) second = now_;
  }
  EXPECT_GT(second, last);
  EXPECT_EQ(reflector_.counters().followed_at, second) << "once is believed";
  EXPECT_THAT(request(), HasSubstr("resourceVersion=2"));
  head();
  EXPECT_FALSE(reflector_.counters().current(now_ + 9s));
  EXPECT_TRUE(reflector_.counters().current(now_ + 10s)) << "one that lives";
  EXPECT_TRUE(data(api_event("MODIFIED", api_pod("a", "3", "y"))));
  EXPECT_TRUE(reflector_.counters().current(now_)) << "or that tells something";
  end();
  request();
  head();
  EXPECT_TRUE(reflector_.counters().current(now_));
}

// Whatever comes, in whatever pieces: it stays alive, and what it knows is a whole set.
RC_GTEST_PROP(ReflectorFuzz, SurvivesAnything, (std::uint64_t seed)) {
  PodStore store(project_pod, 100);
  Reflector reflector(pod_settings(), store, seed);
  ApiTime now{1000s};
  for (int round = *rc::gen::inRange(1, 30); round > 0; --round) {
    now = std::max(now, reflector.due());
    RC_ASSERT(reflector.next(now).has_value());
    const int status = *rc::gen::element(200, 200, 200, 410, 422, 429, 500);
    reflector.on_head(status, now);
    std::string text;
    for (int events = *rc::gen::inRange(0, 5); events > 0; --events)
      text += *rc::gen::element(api_event("ADDED", api_pod("a", "1")), api_event("DELETED", api_pod("a", "1")),
                                api_event("MODIFIED", api_pod("b", "2")), api_bookmark("3", true), api_bookmark("4"),
                                api_page({api_pod("a", "5")}, "6", "c"), api_page({api_pod("b", "5")}, "6"),
                                api_event("ERROR", {{"code", 410}}), std::string("\n{"));
    text = text.substr(0, *rc::gen::inRange<std::size_t>(0, text.size() + 1));
    const bool complete = store.complete();
    const bool good = reflector.on_data(text, now);
    reflector.on_end({status, good ? std::nullopt : std::optional(ApiError{Reason::Cut, ""}), 0ms}, now);
    RC_ASSERT(store.complete() >= complete);
    RC_ASSERT(reflector.due() <= now + 30s);
  }
}

}  // namespace
}  // namespace grantd
