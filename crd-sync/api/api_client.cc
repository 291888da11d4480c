#include "crd-sync/api/api_client.h"

#include <algorithm>
#include <random>
#include <utility>

namespace grantd {
namespace {

ApiTime now() { return std::chrono::steady_clock::now(); }

bool may_help_to_repeat(ApiErrorReason reason) {
  switch (reason) {
    case ApiErrorReason::Connection:
    case ApiErrorReason::TimedOut:
    case ApiErrorReason::Cut:
    case ApiErrorReason::Unauthorized:
    case ApiErrorReason::Throttled:
    case ApiErrorReason::Server:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<std::unique_ptr<ApiClient>> ApiClient::open(const ApiServer& server, const HttpLimits& limits) {
  auto http = HttpClient::open(server, limits);
  if (!http) return http.error();
  return std::unique_ptr<ApiClient>(new ApiClient(std::move(http).value(), limits.first_wait));
}

void ApiClient::work() {
  http_->work();
  if (wake_ <= now()) wake_ = ApiTime::max();
  drive();
}

void ApiClient::wake(ApiTime due) {
  if (due == wake_) return;
  wake_ = due;
  drive();
}

void ApiClient::follow(Reflector& reflector) {
  followed_.push_back({&reflector});
  drive();
}

void ApiClient::unfollow(Reflector& reflector) {
  const auto found = std::find_if(followed_.begin(), followed_.end(),
                                  [&](const Followed& each) { return each.reflector == &reflector; });
  if (found == followed_.end()) return;
  http_->cancel(found->id);
  followed_.erase(found);
}

void ApiClient::send(const ApiRequest& request, Done done, int attempts) {
  sent_.push_back({request, std::move(done), attempts, Backoff(std::random_device()(), first_wait_), now(), false, {}});
  http_->set_alarm(now());  // answers come from work() only
}

void ApiClient::drive() {
  const ApiTime time = now();
  ApiTime due = ApiTime::max();
  for (Followed& followed : followed_) {
    drive(followed, time);
    due = std::min(due, followed.reflector->due());
  }
  due = std::min({due, drive_sent(time), wake_});
  http_->set_alarm(due);
}

// When the next one is due.
ApiTime ApiClient::drive_sent(ApiTime time) {
  std::size_t place = 0, open = 0;
  for (const Sent& sent : sent_) open += sent.open ? 1 : 0;
  for (auto sent = sent_.begin(); sent != sent_.end();) {
    const auto next = std::next(sent);
    if (++place > kMostRequests && !sent->open) {
      const Done done = std::move(sent->done);
      sent_.erase(sent);
      done({0, "", ApiError{ApiErrorReason::TooMany, "too many requests wait for the API server"}});
    } else if (!sent->open && sent->due <= time && open < kOpenRequests) {
      ++open;
      drive(sent);
    }
    sent = next;
  }
  ApiTime due = ApiTime::max();
  for (const Sent& sent : sent_)
    if (!sent.open && (sent.due > time || open < kOpenRequests)) due = std::min(due, sent.due);
  return due;
}

void ApiClient::drive(Followed& followed, ApiTime time) {
  Reflector& reflector = *followed.reflector;
  if (reflector.overdue(time)) {
    http_->cancel(followed.id);
    ApiEnd end;
    end.broken = ApiError{ApiErrorReason::TimedOut, "the whole set did not come in time"};
    reflector.on_end(end, time);
  }
  const auto request = reflector.next(time);
  if (!request) return;
  followed.id =
      http_->start(*request, {[&reflector](int status) { reflector.on_head(status, now()); },
                              [&reflector](std::string_view bytes) { return reflector.on_data(bytes, now()); },
                              [&reflector](const ApiEnd& end) { reflector.on_end(end, now()); }});
}

void ApiClient::drive(Sending sent) {
  sent->open = true;
  sent->answer = {};
  http_->start(sent->request, {[sent](int status) { sent->answer.status = status; },
                               [sent](std::string_view bytes) {
                                 std::string& body = sent->answer.body;
                                 if (body.size() + bytes.size() > kMaxAnswer) {
                                   sent->answer.error = ApiError{ApiErrorReason::TooLarge, "an answer above the bound"};
                                   return false;
                                 }
                                 body.append(bytes);
                                 return true;
                               },
                               [this, sent](const ApiEnd& ended) { end(sent, ended); }});
}

void ApiClient::end(Sending sent, const ApiEnd& end) {
  ApiAnswer& answer = sent->answer;
  answer.status = end.status;
  answer.retry_after = end.retry_after;
  if (!answer.error) answer.error = end.broken;
  if (!answer.error && (end.status < 200 || end.status > 299)) answer.error = status_error(end.status, answer.body);
  sent->open = false;
  if (answer.error && may_help_to_repeat(answer.error->reason) && --sent->attempts > 0) {
    sent->due = now() + sent->backoff.next(end.retry_after);
    return;
  }
  const Done done = std::move(sent->done);
  const ApiAnswer last = std::move(answer);
  sent_.erase(sent);
  done(last);
}

}  // namespace grantd
