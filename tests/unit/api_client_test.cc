// The API client against a server that speaks real TCP and TLS, and is as bad as servers can be.
#include "crd-sync/api/api_client.h"
#include "tests/unit/api_samples.h"
#include "tests/unit/api_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <optional>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;
using Reason = ApiErrorReason;

const TestPki& pki() {
  static const TestPki made;
  return made;
}

class ApiClientTest : public testing::Test {
 protected:
  using Request = httplib::Request;
  using Response = httplib::Response;

  void TearDown() override {
    client_.reset();
    for (TestStream& stream : streams_) stream.cut();
    server_.reset();
  }

  // The answers of the test, in the order of the requests; the last one for all that follow.
  using Answer = std::function<void(const Request&, Response&)>;
  void serve(std::vector<Answer> answers, bool wants_client = false) {
    server_.emplace(
        pki(),
        [this, answers = std::move(answers)](const Request& request, Response& response) {
          std::size_t number = 0;
          {
            const std::lock_guard lock(mutex_);
            requests_.push_back(request.target);
            tokens_.push_back(request.get_header_value("Authorization"));
            number = std::min(requests_.size(), answers.size()) - 1;
          }
          answers[number](request, response);
        },
        wants_client);
    to_.url = server_->url();
    to_.authority.file = pki().path("ca.crt");
  }
  static Answer status(int code, const std::string& body = "", const std::string& retry_after = "") {
    return [=](const Request&, Response& response) {
      response.status = code;
      response.set_content(body.empty() ? api_status(code, "no") : body, "application/json");
      if (!retry_after.empty()) response.set_header("Retry-After", retry_after);
    };
  }
  static Answer stream(TestStream& stream) {
    return [&stream](const Request&, Response& response) { stream.serve(response); };
  }
  static std::string initial() {
    return api_event("ADDED", api_pod("a", "1")) + api_event("ADDED", api_pod("b", "2")) + api_bookmark("2", true);
  }

  void open() {
    limits_.first_wait = 20ms;
    auto client = ApiClient::open(to_, limits_);
    ASSERT_TRUE(client.ok()) << client.error().message;
    client_ = std::move(client).value();
  }
  void follow(ReflectorSettings settings = pod_settings()) {
    if (!client_) open();
    settings.first_wait = 20ms;
    reflector_.emplace(settings, store_, 1);
    client_->follow(*reflector_);
  }
  // As an event loop does, until it is true or time is up.
  bool until(const std::function<bool()>& met, std::chrono::milliseconds limit = 5s) {
    const auto last = std::chrono::steady_clock::now() + limit;
    while (!met()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(last - std::chrono::steady_clock::now());
      if (left <= 0ms) return false;
      pollfd poller{client_->fd(), POLLIN, 0};
      if (poll(&poller, 1, static_cast<int>(left.count())) > 0) client_->work();
    }
    return true;
  }
  bool until_known(const std::string& text) {
    return until([&] { return known(store_) == text; });
  }
  bool until_error(Reason reason) {
    return until([&] { return errors(reason) > 0; });
  }
  std::uint64_t errors(Reason reason) const { return reflector_->counters().errors[static_cast<std::size_t>(reason)]; }
  std::string last_error() const { return reflector_->counters().last_error; }
  std::vector<std::string> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  std::vector<std::string> tokens() {
    const std::lock_guard lock(mutex_);
    return tokens_;
  }
  std::optional<ApiAnswer> sent(const ApiRequest& request, int attempts = 3) {
    std::optional<ApiAnswer> got;
    if (!client_) open();
    client_->send(
        request, [&got](const ApiAnswer& answer) { got = answer; }, attempts);
    until([&got] { return got.has_value(); });
    return got;
  }

  ApiServer to_;
  HttpLimits limits_;
  std::mutex mutex_;
  std::vector<std::string> requests_, tokens_;
  std::array<TestStream, 3> streams_;
  PodStore store_{project_pod};
  std::optional<Reflector> reflector_;
  std::optional<TestApiServer> server_;
  std::unique_ptr<ApiClient> client_;
};

TEST_F(ApiClientTest, LetsGoOfWhatIsUnfollowed) {
  TestStream& one = streams_[0];
  serve({stream(one)});
  follow();
  one.write(initial());
  ASSERT_TRUE(until_known("a=x b=x"));
  client_->unfollow(*reflector_);
  reflector_.reset();  // nothing touches it any more
  one.write(api_event("ADDED", api_pod("c", "3")));
  EXPECT_FALSE(until([] { return false; }, 300ms));
  EXPECT_EQ(known(store_), "a=x b=x");
  EXPECT_EQ(requests().size(), 1U);
}

TEST_F(ApiClientTest, FollowsAStreamOverTls) {
  serve({stream(streams_[0])});
  follow();
  streams_[0].write(initial());
  EXPECT_TRUE(until_known("a=x b=x"));
  streams_[0].write(api_event("MODIFIED", api_pod("a", "3", "y")) + api_event("DELETED", api_pod("b", "4")));
  EXPECT_TRUE(until_known("a=y"));
  EXPECT_TRUE(reflector_->counters().following);
  EXPECT_EQ(requests().size(), 1U);
}

TEST_F(ApiClientTest, GoesOnWhereACutStreamEnded) {
  serve({stream(streams_[0]), stream(streams_[1])});
  follow();
  streams_[0].write(initial());
  ASSERT_TRUE(until_known("a=x b=x"));
  const std::string event = api_event("MODIFIED", api_pod("a", "3", "y"));
  streams_[0].write(event.substr(0, event.size() / 2));
  streams_[0].cut();
  ASSERT_TRUE(until_error(Reason::Cut)) << last_error();
  EXPECT_EQ(known(store_), "a=x b=x");
  streams_[1].write(event);
  EXPECT_TRUE(until_known("a=y b=x"));
  EXPECT_THAT(requests().at(1), HasSubstr("resourceVersion=2&"));
}

TEST_F(ApiClientTest, ReplacesTheSetAfterGone) {
  serve({stream(streams_[0]), status(410), stream(streams_[1])});
  follow();
  streams_[0].write(initial());
  ASSERT_TRUE(until_known("a=x b=x"));
  streams_[0].finish();
  ASSERT_TRUE(until_error(Reason::Gone));
  streams_[1].write(api_event("ADDED", api_pod("b", "8")) + api_bookmark("9", true));
  EXPECT_TRUE(until_known("b=x"));
  EXPECT_EQ(reflector_->counters().relists(), 1U);
}

TEST_F(ApiClientTest, WaitsAsLongAsItIsAsked) {
  serve({status(429, "", "1"), stream(streams_[0])});
  follow();
  ASSERT_TRUE(until_error(Reason::Throttled));
  const auto refused = std::chrono::steady_clock::now();
  streams_[0].write(initial());
  EXPECT_TRUE(until_known("a=x b=x"));
  EXPECT_GE(std::chrono::steady_clock::now() - refused, 900ms);
}

TEST_F(ApiClientTest, ReadsTheTokenAgain) {
  TemporaryDirectory folder;
  folder.write("token", "old");
  const Answer only_new = [this](const Request& request, Response& response) {
    if (request.get_header_value("Authorization") != "Bearer new") return status(401)(request, response);
    streams_[0].serve(response);
  };
  serve({only_new});
  to_.token_file = folder.path("token");
  follow();
  ASSERT_TRUE(until_error(Reason::Unauthorized));
  folder.write("token", "new\n");
  streams_[0].write(initial());
  EXPECT_TRUE(until_known("a=x b=x"));
  EXPECT_EQ(tokens().front(), "Bearer old");
  EXPECT_EQ(tokens().back(), "Bearer new");
}

TEST_F(ApiClientTest, ListsByPagesWhereStreamsAreRefused) {
  serve({status(422), status(200, api_page({api_pod("a", "1")}, "5", "more")),
         status(200, api_page({api_pod("b", "2")}, "5")), stream(streams_[0])});
  follow();
  EXPECT_TRUE(until_known("a=x b=x"));
  streams_[0].write(api_event("DELETED", api_pod("a", "6")));
  EXPECT_TRUE(until_known("b=x"));
  EXPECT_THAT(requests().at(2), HasSubstr("continue=more"));
  EXPECT_THAT(requests().at(3), HasSubstr("resourceVersion=5&"));
}

TEST_F(ApiClientTest, StopsReadingAtTheBound) {
  serve({[](const Request&, Response& response) {
    response.set_chunked_content_provider("application/json", [](std::size_t offset, httplib::DataSink& sink) {
      const std::string text(64 << 10, '[');
      return offset < 64 << 20 && sink.write(text.data(), text.size());
    });
  }});
  follow();
  ASSERT_TRUE(until_error(Reason::TooLarge));
  EXPECT_THAT(last_error(), HasSubstr("Pod: an event of more than 4000 bytes"));
}

// Trailers, and what comes before the answer proper, count with them: it is the sum of all.
TEST_F(ApiClientTest, StopsReadingHeadersAtTheBound) {
  const auto with_headers = [](int count) {
    return [count](const Request&, Response& response) {
      for (int number = 0; number < count; ++number)
        response.set_header("X-Fill-" + std::to_string(number), std::string(1'000, 'x'));
      response.set_content("{}", "application/json");
    };
  };
  serve({with_headers(40), with_headers(80)});
  EXPECT_FALSE(sent({}, 1)->error.has_value());
  const auto answer = sent({}, 1);
  ASSERT_TRUE(answer && answer->error);
  EXPECT_EQ(answer->error->reason, Reason::TooLarge);
  EXPECT_THAT(answer->error->message, HasSubstr("headers of more than 65536 bytes"));
}

TEST_F(ApiClientTest, StopsReadingAnAnswerAtTheBound) {
  const auto with_bytes = [](std::size_t bytes) {
    return [bytes](const Request&, Response& response) {
      response.set_content(std::string(bytes, 'x'), "application/json");
    };
  };
  serve({with_bytes(ApiClient::kMaxAnswer), with_bytes(ApiClient::kMaxAnswer + 1)});
  EXPECT_FALSE(sent({}, 1)->error.has_value());
  const auto answer = sent({}, 1);
  ASSERT_TRUE(answer && answer->error);
  EXPECT_EQ(answer->error->reason, Reason::TooLarge);
}

TEST_F(ApiClientTest, TakesNoGarbage) {
  serve({status(200, "<html>Log in</html>\n"), stream(streams_[0])});
  follow();
  ASSERT_TRUE(until_error(Reason::Garbage));
  EXPECT_FALSE(store_.complete());
  streams_[0].write(initial());
  EXPECT_TRUE(until_known("a=x b=x"));
}

TEST_F(ApiClientTest, NoticesAStreamOfWhichNothingComes) {
  limits_.idle = 200ms;
  serve({stream(streams_[0]), stream(streams_[1])});
  follow();
  streams_[0].write(initial());
  ASSERT_TRUE(until_known("a=x b=x"));
  ASSERT_TRUE(until_error(Reason::TimedOut)) << last_error();
  EXPECT_EQ(known(store_), "a=x b=x");
  streams_[1].write(api_event("DELETED", api_pod("a", "6")));
  EXPECT_TRUE(until_known("b=x"));
}

TEST_F(ApiClientTest, TakesABytewiseStream) {
  serve({stream(streams_[0])});
  follow();
  for (const char byte : initial()) {
    streams_[0].write(std::string(1, byte));
    until([] { return false; }, 1ms);
  }
  EXPECT_TRUE(until_known("a=x b=x"));
}

TEST_F(ApiClientTest, ComesBackWhenTheServerDoes) {
  serve({stream(streams_[0])});
  const std::string good = to_.url;
  to_.url = "https://127.0.0.1:1";
  follow();
  ASSERT_TRUE(until_error(Reason::Connection));
  EXPECT_EQ(reflector_->counters().lag(std::chrono::steady_clock::now()), std::nullopt);
  client_.reset();
  to_.url = good;
  follow();
  streams_[0].write(initial());
  EXPECT_TRUE(until_known("a=x b=x"));
}

TEST_F(ApiClientTest, WakesWhenItIsAsked) {
  serve({stream(streams_[0])});
  follow();
  streams_[0].write(initial());
  ASSERT_TRUE(until_known("a=x b=x"));
  const auto woken = [this](int milliseconds) {
    pollfd poller{client_->fd(), POLLIN, 0};
    if (poll(&poller, 1, milliseconds) == 0) return false;
    client_->work();
    return true;
  };
  while (woken(200)) {
  }
  client_->wake(std::chrono::steady_clock::now() + 300ms);
  EXPECT_FALSE(woken(100));
  EXPECT_TRUE(woken(2000));
  EXPECT_FALSE(woken(200)) << "once";
}

TEST_F(ApiClientTest, VerifiesTheServer) {
  serve({status(200)});
  to_.authority.file = pki().path("other-ca.crt");
  EXPECT_EQ(sent({.path = "/"}, 1)->error->reason, Reason::Connection);
  client_.reset();
  to_.authority = {};  // the system's, which do not know it
  EXPECT_EQ(sent({.path = "/"}, 1)->error->reason, Reason::Connection);
  client_.reset();
  to_.authority.file = pki().path("ca.crt");
  to_.url = server_->url("localhost");  // which the certificate does not name
  EXPECT_EQ(sent({.path = "/"}, 1)->error->reason, Reason::Connection);
  EXPECT_TRUE(requests().empty());
  client_.reset();
  to_.url = server_->url();
  EXPECT_FALSE(sent({.path = "/"}, 1)->error.has_value());
}

TEST_F(ApiClientTest, ShowsItsCertificate) {
  serve({status(200)}, true);
  EXPECT_TRUE(sent({.path = "/"}, 1)->error.has_value());
  client_.reset();
  const auto inline_pem = [](const std::string& name) {
    std::ifstream file(pki().path(name));
    return PemSource{"", std::string(std::istreambuf_iterator<char>(file), {})};
  };
  to_.authority = inline_pem("ca.crt");
  to_.certificate = inline_pem("client.crt");
  to_.key = inline_pem("client.key");
  EXPECT_FALSE(sent({.path = "/"}, 1)->error.has_value());
  client_.reset();
  to_.certificate = {pki().path("client.crt"), ""};
  to_.key = {pki().path("client.key"), ""};
  EXPECT_FALSE(sent({.path = "/"}, 1)->error.has_value());
}

TEST_F(ApiClientTest, SendsWhatItIsGiven) {
  std::string seen;
  serve({[&seen](const Request& request, Response& response) {
    seen = request.method + " " + request.target + " " + request.get_header_value("Content-Type") + " " + request.body;
    response.status = 201;
    response.set_content("{}", "application/json");
  }});
  to_.token = "secret";
  const auto answer = sent({.method = "PATCH",
                            .path = "/apis/keystone.io/v1alpha1/grantnodestatuses/node-a/status?fieldManager=grantd",
                            .content_type = "application/apply-patch+yaml",
                            .body = "{\"a\":1}"});
  ASSERT_TRUE(answer.has_value());
  EXPECT_FALSE(answer->error.has_value());
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->body, "{}");
  EXPECT_EQ(seen,
            "PATCH /apis/keystone.io/v1alpha1/grantnodestatuses/node-a/status?fieldManager=grantd "
            "application/apply-patch+yaml {\"a\":1}");
  EXPECT_EQ(tokens().front(), "Bearer secret");
}

TEST_F(ApiClientTest, SendsAgainWhatMayHelp) {
  serve({status(500), status(429), status(200, "{}")});
  EXPECT_FALSE(sent({.method = "POST", .path = "/x", .content_type = "application/json", .body = "{}"})->error);
  EXPECT_EQ(requests().size(), 3U);
}

TEST_F(ApiClientTest, SendsNotAgainWhatDoesNotHelp) {
  serve({status(409, api_status(409, "Apply failed with 1 conflict"))});
  const auto answer = sent({.method = "POST", .path = "/x", .content_type = "application/json", .body = "{}"});
  EXPECT_EQ(answer->error->reason, Reason::Refused);
  EXPECT_EQ(answer->status, 409);
  EXPECT_THAT(answer->error->message, HasSubstr("Apply failed"));
  EXPECT_EQ(requests().size(), 1U);
}

TEST_F(ApiClientTest, GivesUpAfterItsAttempts) {
  serve({status(503)});
  EXPECT_EQ(sent({.path = "/x"}, 2)->error->reason, Reason::Server);
  EXPECT_EQ(requests().size(), 2U);
}

TEST_F(ApiClientTest, FollowsNoRedirect) {
  serve({[](const Request&, Response& response) { response.set_redirect("/elsewhere", 302); }});
  EXPECT_EQ(sent({.path = "/x"}, 1)->status, 302);
  EXPECT_EQ(requests().size(), 1U);
}

TEST_F(ApiClientTest, BoundsWhatWaits) {
  serve({status(200, "{}")});
  open();
  int good = 0, refused = 0;
  for (std::size_t request = 0; request < ApiClient::kMostRequests + 10; ++request)
    client_->send({.path = "/x"}, [&](const ApiAnswer& answer) { ++(answer.error ? refused : good); });
  EXPECT_TRUE(until([&] { return client_->requests() == 0; }));
  EXPECT_EQ(good, static_cast<int>(ApiClient::kMostRequests));
  EXPECT_EQ(refused, 10);
}

TEST_F(ApiClientTest, MaySendFromAnAnswer) {
  serve({status(200, "{}")});
  open();
  bool second = false;
  client_->send({.path = "/1"}, [&](const ApiAnswer&) {
    client_->send({.path = "/2"}, [&second](const ApiAnswer& answer) { second = !answer.error; });
  });
  EXPECT_TRUE(until([&second] { return second; }));
}

}  // namespace
}  // namespace grantd
