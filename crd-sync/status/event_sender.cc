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

// Of a change: the Event of that name is another's. (A right that is missing, or 422 of an admission policy.)
bool is_refused(const ApiError& error) {
  return error.reason == ApiErrorReason::Forbidden || error.reason == ApiErrorReason::Refused;
}

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
      backoff_(seed) {}

bool EventSender::offer(const Occasion& occasion, std::function<void()> settled) {
  const ApiTime now = clock_();
  const Key key{occasion.about.uid, occasion.reason, occasion.detail};
  const auto known = told_.find(key);
  if (!is_due(known == told_.end() ? nullptr : &known->second, occasion.state, now)) return false;
  if (now < wait_until_) return false;
  const std::string& space = occasion.about.namespace_name;
  if (!has_place(space) || !take_token(space, now)) {
    ++counters_.held_back;
    return false;
  }
  Waiting waiting{key, occasion, std::move(settled), {}};
  if (known == told_.end())
    forget_oldest();
  else
    waiting.before = known->second;
  Told& told = told_[key];
  told.at = now;
  told.state = occasion.state;
  waiting_[space].push_back(std::move(waiting));
  send_waiting();
  return true;
}

bool EventSender::is_due(const Told* told, const std::string& state, ApiTime now) const {
  if (told == nullptr) return true;
  return now >= told->at + kAgain || (told->state != state && now >= told->at + kChanged);
}

bool EventSender::has_place(const std::string& space) const {
  std::size_t all = 0;
  for (const auto& [name, queue] : waiting_) all += queue.size();
  const auto own = waiting_.find(space);
  return all < kMostWaiting && (own == waiting_.end() || own->second.size() < kMostWaitingOfEach);
}

void EventSender::send_waiting() {
  while (open_ < kMostOpen && !waiting_.empty()) {
    auto turn = waiting_.upper_bound(last_served_);
    if (turn == waiting_.end()) turn = waiting_.begin();
    last_served_ = turn->first;
    const Waiting next = std::move(turn->second.front());
    turn->second.pop_front();
    if (turn->second.empty()) waiting_.erase(turn);
    if (told_[next.key].there)
      repeat(next, true);
    else
      create(next, Asked::Create);
  }
}

// As if none of it had been offered: what still holds once the server is back is, the rest would be told too late.
void EventSender::forget_waiting() {
  for (const auto& [space, queue] : waiting_) {
    if (const auto tokens = tokens_.find(space); tokens != tokens_.end())
      tokens->second.left = std::min(kBurst, tokens->second.left + static_cast<double>(queue.size()));
    for (const Waiting& each : queue)
      if (each.before)
        told_[each.key] = *each.before;
      else
        told_.erase(each.key);
  }
  waiting_.clear();
}

bool EventSender::take_token(const std::string& space, ApiTime now) {
  const auto left = [now](const Tokens& tokens) {
    const std::chrono::duration<double> passed = now - tokens.at;
    return std::min(kBurst, tokens.left + passed.count() * kPerSecond);
  };
  std::erase_if(tokens_, [&](const auto& each) { return left(each.second) >= kBurst; });
  Tokens& tokens = tokens_.try_emplace(space, Tokens{kBurst, now}).first->second;
  tokens = {left(tokens), now};
  if (tokens.left < 1) return false;
  tokens.left -= 1;
  return true;
}

void EventSender::forget_oldest() {
  if (told_.size() < kMostRemembered) return;
  told_.erase(std::min_element(told_.begin(), told_.end(),
                               [](const auto& one, const auto& other) { return one.second.at < other.second.at; }));
}

nlohmann::json EventSender::facts(const Occasion& occasion) const {
  const EventObject& about = occasion.about;
  return {{"involvedObject",
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
          {"lastTimestamp", now_text(wall_())}};
}

void EventSender::create(const Waiting& waiting, Asked asked) {
  const Occasion& occasion = waiting.occasion;
  Told& told = told_[waiting.key];
  told.there = false;
  told.name = event_name(node_, occasion);
  Json event = facts(occasion);
  event["apiVersion"] = "v1";
  event["kind"] = "Event";
  event["metadata"]["namespace"] = occasion.about.namespace_name;
  if (asked == Asked::CreateBeside)
    event["metadata"]["generateName"] = told.name + "-";
  else
    event["metadata"]["name"] = told.name;
  event["firstTimestamp"] = event["lastTimestamp"];
  event["count"] = 1;
  ApiRequest request;
  request.method = "POST";
  request.path = events_path(occasion.about.namespace_name);
  request.content_type = "application/json";
  request.body = dump_json(event);
  send(request, waiting, asked);
}

// `counted`: it happened again; else it is the one that an earlier agent told of.
void EventSender::repeat(const Waiting& waiting, bool counted) {
  const Occasion& occasion = waiting.occasion;
  Told& told = told_[waiting.key];
  if (told.name.empty()) told.name = event_name(node_, occasion);  // it was forgotten meanwhile
  Json change = facts(occasion);
  if (counted) change["count"] = told.count + 1;
  ApiRequest request;
  request.method = "PATCH";
  request.path = events_path(occasion.about.namespace_name) + "/" + percent_encoded(told.name);
  request.content_type = "application/merge-patch+json";
  request.body = dump_json(change);
  send(request, waiting, Asked::Repeat);
}

void EventSender::send(const ApiRequest& request, const Waiting& waiting, Asked asked) {
  ++open_;
  send_(request, [this, waiting, asked](const ApiAnswer& answer) { answered(answer, waiting, asked); });
}

void EventSender::answered(const ApiAnswer& answer, const Waiting& waiting, Asked asked) {
  --open_;
  take_answer(answer, waiting, asked);
  if (clock_() >= wait_until_)
    send_waiting();
  else
    forget_waiting();
}

void EventSender::take_answer(const ApiAnswer& answer, const Waiting& waiting, Asked asked) {
  Told& told = told_[waiting.key];
  const auto settle = [&waiting] {
    if (waiting.settled) waiting.settled();
  };
  if (asked == Asked::Create && answer.status == kConflict) return repeat(waiting, false);
  if (asked == Asked::Repeat && answer.error) {
    if (told.there && answer.error->reason == ApiErrorReason::NotFound)
      return create(waiting, Asked::Create);  // the server keeps Events for an hour
    if (is_refused(*answer.error)) return create(waiting, Asked::CreateBeside);
  }
  if (!answer.error) {
    ++counters_.done;
    counters_.last_error.clear();
    backoff_.reset();
    told.there = true;
    const auto kept = parse_json(answer.body, kAnswerLimits);
    const Json* count = kept ? json_member(*kept, "count") : nullptr;
    if (count != nullptr && count->is_number_unsigned()) told.count = count->get<std::uint64_t>();
    const Json* metadata = kept ? json_member(*kept, "metadata") : nullptr;
    const Json* name = metadata != nullptr ? json_member(*metadata, "name") : nullptr;
    if (name != nullptr && name->is_string()) told.name = name->get<std::string>();
    return settle();
  }
  ++counters_.failed;
  counters_.last_error = answer.error->message;
  switch (answer.error->reason) {
    case ApiErrorReason::Forbidden:
    case ApiErrorReason::NotFound:  // its namespace is gone
    case ApiErrorReason::Refused:
      return settle();  // and would be again; at most hourly
    default:
      break;
  }
  wait_until_ = clock_() + backoff_.next(answer.retry_after);
  told_.erase(waiting.key);
}

}  // namespace grantd
