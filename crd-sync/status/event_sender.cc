#include "crd-sync/status/event_sender.h"

#include "crd-sync/api/json.h"
#include "crd-sync/canonical.h"
#include "crd-sync/problem.h"
#include "crd-sync/time_text.h"

#include <algorithm>
#include <utility>

namespace grantd {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostMessageBytes = 1000;  // the server takes 1024
constexpr std::size_t kMostNameBytes = 200;      // with the hash below 253
constexpr JsonLimits kAnswerLimits{10'000, 16};
constexpr int kConflict = 409;

std::string now_text(WallTime now) { return time_text(std::chrono::floor<std::chrono::seconds>(now)); }

std::string events_path(const std::string& space) { return "/api/v1/namespaces/" + percent_encoded(space) + "/events"; }

}  // namespace

std::string event_name(const std::string& node, const Occasion& occasion) {
  std::string name = occasion.about.name.substr(0, kMostNameBytes);
  while (!name.empty() && (name.back() == '.' || name.back() == '-')) name.pop_back();
  const std::string all =
      quoted_text(node) + quoted_text(occasion.about.uid) + quoted_text(occasion.reason) + quoted_text(occasion.detail);
  return name + "." + hash_digits(hash_text(all));
}

EventSender::EventSender(std::string node, SendRequest send, ApiClock clock, WallClock wall, std::uint64_t seed)
    : node_(std::move(node)),
      send_(std::move(send)),
      clock_(std::move(clock)),
      wall_(std::move(wall)),
      backoff_(seed),
      tokens_at_(clock_()) {}

bool EventSender::offer(const Occasion& occasion) {
  const ApiTime now = clock_();
  const Key key{occasion.about.uid, occasion.reason, occasion.detail};
  const auto known = told_.find(key);
  if (!is_due(known == told_.end() ? nullptr : &known->second, occasion.state, now)) return false;
  if (now < wait_until_ || open_ >= kMostOpen) return false;
  if (!take_token(now)) {
    ++counters_.held_back;
    return false;
  }
  if (known == told_.end()) forget_oldest();
  Told& told = told_[key];
  told.at = now;
  told.state = occasion.state;
  if (told.there)
    repeat(key, occasion, true);
  else
    create(key, occasion);
  return true;
}

bool EventSender::is_due(const Told* told, const std::string& state, ApiTime now) const {
  if (told == nullptr) return true;
  return now >= told->at + kAgain || (told->state != state && now >= told->at + kChanged);
}

bool EventSender::take_token(ApiTime now) {
  const std::chrono::duration<double> passed = now - tokens_at_;
  tokens_ = std::min(kBurst, tokens_ + passed.count() * kPerSecond);
  tokens_at_ = now;
  if (tokens_ < 1) return false;
  tokens_ -= 1;
  return true;
}

void EventSender::forget_oldest() {
  if (told_.size() < kMostRemembered) return;
  told_.erase(std::min_element(told_.begin(), told_.end(),
                               [](const auto& one, const auto& other) { return one.second.at < other.second.at; }));
}

void EventSender::create(const Key& key, const Occasion& occasion) {
  const EventObject& about = occasion.about;
  const std::string now = now_text(wall_());
  const Json event = {{"apiVersion", "v1"},
                      {"kind", "Event"},
                      {"metadata", {{"name", event_name(node_, occasion)}, {"namespace", about.namespace_name}}},
                      {"involvedObject",
                       {{"apiVersion", about.api_version},
                        {"kind", about.kind},
                        {"namespace", about.namespace_name},
                        {"name", about.name},
                        {"uid", about.uid}}},
                      {"type", "Warning"},
                      {"reason", occasion.reason},
                      {"message", cut_text(occasion.message, kMostMessageBytes)},
                      {"source", {{"component", "grantd"}, {"host", node_}}},
                      {"reportingComponent", "grantd"},
                      {"reportingInstance", node_},
                      {"firstTimestamp", now},
                      {"lastTimestamp", now},
                      {"count", 1}};
  ApiRequest request;
  request.method = "POST";
  request.path = events_path(about.namespace_name);
  request.content_type = "application/json";
  request.body = dump_json(event);
  send(request, key, occasion, true);
}

// `counted`: it happened again; else it is the one that an earlier agent told of.
void EventSender::repeat(const Key& key, const Occasion& occasion, bool counted) {
  Json change = {{"lastTimestamp", now_text(wall_())}, {"message", cut_text(occasion.message, kMostMessageBytes)}};
  if (counted) change["count"] = told_[key].count + 1;
  ApiRequest request;
  request.method = "PATCH";
  request.path = events_path(occasion.about.namespace_name) + "/" + percent_encoded(event_name(node_, occasion));
  request.content_type = "application/merge-patch+json";
  request.body = dump_json(change);
  send(request, key, occasion, false);
}

void EventSender::send(const ApiRequest& request, const Key& key, const Occasion& occasion, bool creating) {
  ++open_;
  send_(request,
        [this, key, occasion, creating](const ApiAnswer& answer) { answered(answer, key, occasion, creating); });
}

void EventSender::answered(const ApiAnswer& answer, const Key& key, const Occasion& occasion, bool creating) {
  --open_;
  Told& told = told_[key];
  if (creating && answer.status == kConflict) return repeat(key, occasion, false);
  if (told.there && !creating && answer.error && answer.error->reason == ApiErrorReason::NotFound) {
    told.there = false;  // the server keeps Events for an hour
    return create(key, occasion);
  }
  if (!answer.error) {
    ++counters_.done;
    counters_.last_error.clear();
    backoff_.reset();
    told.there = true;
    const auto kept = parse_json(answer.body, kAnswerLimits);
    const Json* count = kept ? json_member(*kept, "count") : nullptr;
    if (count != nullptr && count->is_number_unsigned()) told.count = count->get<std::uint64_t>();
    return;
  }
  ++counters_.failed;
  counters_.last_error = answer.error->message;
  switch (answer.error->reason) {
    case ApiErrorReason::Forbidden:
    case ApiErrorReason::NotFound:  // its namespace is gone
    case ApiErrorReason::Refused:
      return;  // and would be again; at most hourly
    default:
      break;
  }
  wait_until_ = clock_() + backoff_.next(answer.retry_after);
  told_.erase(key);
}

}  // namespace grantd
