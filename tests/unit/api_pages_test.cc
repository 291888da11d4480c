// Lists that come page by page, of servers that do not stream them.
#include "tests/unit/reflector_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using Reason = ApiErrorReason;

class PagedTest : public ReflectorTest {
 protected:
  void SetUp() override {
    request();
    answer(422, api_status(422, "sendInitialEvents is forbidden for watch unless the WatchList feature gate is on"));
    ASSERT_EQ(wait(), 0s);
  }
};

TEST_F(PagedTest, ThatAServerDoesNotStreamListsIsNoError) {
  EXPECT_EQ(errors(Reason::Refused), 0U);
  EXPECT_EQ(reflector_.counters().last_error, "");
  request();
  answer(422, api_status(422, "limit: is no number"));
  EXPECT_EQ(errors(Reason::Refused), 1U) << "that it refuses pages is one";
}

TEST_F(PagedTest, ListsByPagesAndThenFollows) {
  EXPECT_THAT(request(), testing::StartsWith("/api/v1/pods?limit=100&fieldSelector=spec.nodeName"));
  nlohmann::json bare = api_pod("a", "1");
  bare.erase("kind");
  bare.erase("apiVersion");
  answer(200, api_page({bare}, "7", "next/page"));
  EXPECT_FALSE(store_.complete());
  EXPECT_EQ(wait(), 0s);
  EXPECT_THAT(request(), HasSubstr("limit=100&continue=next%2Fpage&"));
  answer(200, api_page({api_pod("b", "2")}, "7"));
  EXPECT_EQ(known(store_), "a=x b=x");
  EXPECT_EQ(wait(), 0s);
  const std::string path = request();
  EXPECT_THAT(path, HasSubstr("watch=1"));
  EXPECT_THAT(path, HasSubstr("resourceVersion=7"));
  head();
  data(api_event("DELETED", api_pod("a", "9")));
  EXPECT_EQ(known(store_), "b=x");
}

TEST_F(PagedTest, DoesNotAskWithoutEndForPagesWithoutEnd) {
  int pages = 0;
  do {
    request();
    answer(200, api_page({}, "7", "more"));
  } while (errors(Reason::TooMany) == 0 && ++pages < 20'000);
  EXPECT_EQ(pages, 9'999);
  EXPECT_GT(wait(), 0s);
  EXPECT_THAT(reflector_.counters().last_error, HasSubstr("more than 10000 pages"));
  EXPECT_THAT(request(), Not(HasSubstr("continue"))) << "from the beginning";
}

TEST_F(PagedTest, StartsTheListAgainWhenItsPagesHaveExpired) {
  request();
  answer(200, api_page({api_pod("a", "1")}, "7", "token"));
  request();
  answer(410, api_status(410, "The provided continue parameter is too old"));
  EXPECT_THAT(request(), Not(HasSubstr("continue")));
  answer(200, api_page({api_pod("b", "2")}, "8"));
  EXPECT_EQ(known(store_), "b=x");  // nothing of the first attempt
}

TEST_F(PagedTest, AsksForAPageAgain) {
  request();
  answer(200, api_page({api_pod("a", "1")}, "7", "token"));
  request();
  answer(429, "", 3s);
  EXPECT_EQ(wait(), 3s);
  EXPECT_THAT(request(), HasSubstr("continue=token"));
  broken(Reason::Cut);
  EXPECT_THAT(request(), HasSubstr("continue=token"));
  answer(200, api_page({api_pod("b", "2")}, "7"));
  EXPECT_EQ(known(store_), "a=x b=x");
}

TEST_F(PagedTest, AsksForLessWhereAPageIsTooLarge) {
  request();
  answer(200, api_page({api_pod("a", "1", std::string(9000, 'x'))}, "7"));
  EXPECT_EQ(errors(Reason::TooLarge), 1U);
  EXPECT_THAT(request(), HasSubstr("limit=25&"));
}

TEST_F(PagedTest, TakesNoHalfOrBrokenPage) {
  const std::string page = api_page({api_pod("a", "1")}, "7");
  for (const std::string& bad :
       {page.substr(0, page.size() - 1), std::string("{}"), std::string("[]"), std::string(),
        std::string(R"({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":"none"})"),
        std::string(R"({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":["none"]})"),
        std::string(R"({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":[{}]})"),
        std::string(R"({"apiVersion":"v1","kind":"PodList","metadata":{},"items":[]})"),
        std::string(R"({"apiVersion":"v1","kind":"SecretList","metadata":{"resourceVersion":"7"},"items":null})"),
        std::string(R"({"apiVersion":"x/v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":null})"),
        std::string(R"({"metadata":{"resourceVersion":"7"},"items":null})"), api_page({}, std::string(129, '7')),
        api_page({}, "7", std::string(2'049, 'n'))}) {
    request();
    answer(200, bad);
    EXPECT_FALSE(store_.complete()) << bad;
    EXPECT_GT(wait(), 0s) << bad;
  }
  EXPECT_EQ(errors(Reason::Garbage), 13U);
  request();
  answer(200, R"({"apiVersion":"v1","kind":"PodList","metadata":{"resourceVersion":"7"},"items":null})");
  EXPECT_TRUE(store_.complete());
}

}  // namespace
}  // namespace grantd
