#include "crd-sync/api/reflector.h"

#include "crd-sync/api/json.h"
#include "crd-sync/problem.h"

#include <algorithm>
#include <utility>

namespace grantd {
namespace {

constexpr std::size_t kMaxErrorBody = 16U << 10;
constexpr std::size_t kPageValues = 1'000'000;
// More than any list has that is kept, page by page of one object: a server that never comes to an end is in error.
constexpr std::size_t kMostPages = 10'000;
constexpr std::size_t kMostContinueBytes = 2U << 10;  // it goes into the next request
// A stream that has lived so long shows that the server is well.
constexpr std::chrono::seconds kHealthy{10};
// After so many bad answers in a row, what is followed from is doubted too.
constexpr int kDoubtedAfter = 5;
constexpr int kWatchSeconds = 300;

// The server speaks, and does not know how to stream a list.
bool refuses_streaming(int status) { return status == 400 || status == 405 || status == 406 || status == 422; }

// With what the reflector itself reads of an object, of a bookmark and of a Status.
KeptMembers kept_of_object(KeptMembers kept) {
  for (const char* name : {"kind", "apiVersion", "code", "message"}) kept.keep({name});
  for (const char* name : {"namespace", "name", "uid", "resourceVersion"}) kept.keep({"metadata", name});
  kept.keep({"metadata", "annotations", "k8s.io/initial-events-end"});
  return kept;
}

KeptMembers kept_of_event(const KeptMembers& object) {
  KeptMembers kept;
  kept.keep({"type"});
  kept.members["object"] = object;
  return kept;
}

KeptMembers kept_of_page(const KeptMembers& object) {
  KeptMembers kept;
  for (const char* name : {"kind", "apiVersion"}) kept.keep({name});
  for (const char* name : {"resourceVersion", "continue"}) kept.keep({"metadata", name});
  kept.members["items"].each = {object};
  return kept;
}

}  // namespace

std::optional<ApiTime::duration> ReflectorCounters::lag(ApiTime now) const {
  if (current(now)) return ApiTime::duration{0};
  if (!followed_at) return std::nullopt;
  return now - *followed_at;
}

Reflector::Reflector(ReflectorSettings settings, ObjectSink& sink, std::uint64_t seed)
    : settings_(std::move(settings)),
      sink_(sink),
      backoff_(seed, settings_.first_wait),
      random_(seed + 1),
      page_objects_(settings_.page_objects),
      lines_(settings_.max_document) {
  if (!settings_.kept) return;
  const KeptMembers object = kept_of_object(*settings_.kept);
  kept_of_event_ = std::make_shared<const KeptMembers>(kept_of_event(object));
  kept_of_page_ = std::make_shared<const KeptMembers>(kept_of_page(object));
}

std::optional<JsonFilter> Reflector::filter(const std::shared_ptr<const KeptMembers>& kept) const {
  return kept ? std::optional(JsonFilter(kept)) : std::nullopt;
}

std::optional<ApiRequest> Reflector::next(ApiTime now) {
  if (open_ || now < due_) return std::nullopt;
  open_ = true;
  opened_ = now_ = now;
  status_ = failure_status_ = 0;
  failure_.reset();
  body_.clear();
  lines_ = Lines(settings_.max_document, filter(kept_of_event_));
  page_ = filter(kept_of_page_);
  step_ = !version_.empty() ? Step::Follow : paged_ ? Step::Page : Step::Initial;
  deadline_ = step_ == Step::Follow ? ApiTime::max() : now + settings_.initial_limit;
  if (step_ == Step::Initial || (step_ == Step::Page && continue_.empty())) {
    ++counters_.lists;
    pages_ = 0;
    sink_.begin_replace();
  }
  ApiRequest request;
  request.stream = step_ != Step::Page;
  // Drawn here, so that the watches of a cluster's nodes do not all end at once.
  const int seconds = kWatchSeconds + static_cast<int>(random_() % kWatchSeconds);
  request.path = settings_.path + "?" + query();
  if (request.stream) request.path += "&timeoutSeconds=" + std::to_string(seconds);
  return request;
}

std::string Reflector::query() const {
  std::string query;
  const auto add = [&query](std::string_view name, std::string_view value) {
    if (!value.empty()) query += (query.empty() ? "" : "&") + std::string(name) + "=" + percent_encoded(value);
  };
  if (step_ == Step::Page) {
    add("limit", std::to_string(page_objects_));
    add("continue", continue_);
  } else {
    add("watch", "1");
    add("allowWatchBookmarks", "true");
    if (step_ == Step::Initial) {
      add("sendInitialEvents", "true");
      add("resourceVersionMatch", "NotOlderThan");
    }
    add("resourceVersion", version_);
  }
  add("fieldSelector", settings_.field_selector);
  add("labelSelector", settings_.label_selector);
  return query;
}

void Reflector::on_head(int status, ApiTime now) {
  if (!open_) return;
  status_ = status;
  now_ = now;
  counters_.last_contact = now;
  if (step_ != Step::Follow || status != 200) return;
  counters_.following = true;
  // Each time it is opened anew, a stream that breaks at the same event would be one for a moment.
  counters_.follows_from = told_ ? now : now + kHealthy;
  told_ = false;
}

bool Reflector::on_data(std::string_view bytes, ApiTime now) {
  if (!open_ || failure_) return false;
  now_ = now;
  counters_.last_contact = now;
  if (status_ != 200) {
    body_.append(bytes.substr(0, kMaxErrorBody - std::min(kMaxErrorBody, body_.size())));
    return true;
  }
  if (step_ == Step::Page) return take_page_bytes(bytes);
  if (lines_.push(bytes, [this](std::string_view line) { return take_event(line); })) {
    // An event that trickles in would hold up all that follow it.
    if (step_ == Step::Follow) {
      if (lines_.pending() == 0)
        deadline_ = ApiTime::max();
      else if (deadline_ == ApiTime::max())
        deadline_ = now + settings_.initial_limit;
    }
    return true;
  }
  if (lines_.too_long())
    fail(ApiErrorReason::TooLarge, "an event of more than " + std::to_string(settings_.max_document) + " bytes");
  if (lines_.no_json()) fail(ApiErrorReason::Garbage, "no event: it is no JSON, or too deep");
  return false;
}

bool Reflector::take_page_bytes(std::string_view bytes) {
  if (page_ && !page_->push(bytes)) return fail(ApiErrorReason::Garbage, "no list: it is no JSON, or too deep");
  if ((page_ ? page_->text().size() : body_.size() + bytes.size()) > settings_.max_page)
    return fail(ApiErrorReason::TooLarge, "a page of more than " + std::to_string(settings_.max_page) + " bytes");
  if (!page_) body_.append(bytes);
  return true;
}

bool Reflector::take_event(std::string_view line) {
  auto event = parse_json(line, {});
  nlohmann::json* object = nullptr;
  if (event && event->is_object())
    if (const auto found = event->find("object"); found != event->end() && found->is_object()) object = &*found;
  if (object == nullptr) return fail(ApiErrorReason::Garbage, "no event: " + escape_text(line));
  ++counters_.events;
  return take_object(json_text(*event, "type"), *object);
}

bool Reflector::take_object(std::string_view type, nlohmann::json& object) {
  if (type == "ERROR") {
    const nlohmann::json* code = json_member(object, "code");
    const int status = code != nullptr && code->is_number_integer() ? code->get<int>() : 500;
    return fail(status_reason(status), "an error event: " + escape_text(json_text(object, "message")), status);
  }
  std::string version;
  if (type == "ADDED" || type == "MODIFIED") {
    if (!put(object, version)) return false;
  } else if (type == "DELETED") {
    const auto meta = object_meta(object);
    if (!meta) return fail(ApiErrorReason::Garbage, "an object without a name, uid or version was deleted");
    sink_.remove(*meta);
    version = meta->version;
  } else if (type == "BOOKMARK") {
    const nlohmann::json* metadata = json_member(object, "metadata");
    if (json_text(object, "kind") != settings_.kind || json_text(object, "apiVersion") != settings_.api_version)
      return fail(ApiErrorReason::Garbage, "a bookmark of another kind");
    if (metadata != nullptr) version = json_text(*metadata, "resourceVersion");
    if (version.empty() || version.size() > kMostVersionBytes)
      return fail(ApiErrorReason::Garbage, "a bookmark without a version, or with one above the bound");
    const nlohmann::json* notes = json_member(*metadata, "annotations");
    if (step_ == Step::Initial && notes != nullptr && json_text(*notes, "k8s.io/initial-events-end") == "true")
      end_initial(version);
  } else {
    return fail(ApiErrorReason::Garbage, "an event of the type \"" + escape_text(type) + "\"");
  }
  if (step_ == Step::Follow) {
    version_ = std::move(version);
    counters_.follows_from = opened_;
    told_ = true;
  }
  return true;
}

// Sets `version` to the object's.
bool Reflector::put(nlohmann::json& object, std::string& version) {
  const auto meta = object_meta(object);
  if (!meta) return fail(ApiErrorReason::Garbage, "an object without a name, uid or version");
  // The items of a list may leave both out.
  if (!object.contains("apiVersion")) object["apiVersion"] = settings_.api_version;
  if (!object.contains("kind")) object["kind"] = settings_.kind;
  if (json_text(object, "kind") != settings_.kind)
    return fail(ApiErrorReason::Garbage, "an object of the kind \"" + escape_text(json_text(object, "kind")) + "\"");
  if (const auto done = sink_.put(*meta, object); !done) {
    ++counters_.errors[static_cast<std::size_t>(ApiErrorReason::Object)];
    counters_.last_error = settings_.kind + " " + meta->key.namespace_name + "/" + meta->key.name + ": " +
                           escape_text(done.error().message, 300);
  }
  if (sink_.full()) return fail(ApiErrorReason::TooMany, "more than is kept of this kind");
  version = meta->version;
  return true;
}

// From here on the same stream is followed.
void Reflector::end_initial(std::string version) {
  sink_.end_replace();
  version_ = std::move(version);
  step_ = Step::Follow;
  deadline_ = ApiTime::max();
  opened_ = now_;
  failed_answers_ = 0;
  counters_.following = true;
}

void Reflector::take_page() {
  if (page_ && page_->finish()) body_ = page_->take_text();
  auto page = parse_json(body_, {kPageValues, 64});
  body_ = {};
  const nlohmann::json* metadata = page ? json_member(*page, "metadata") : nullptr;
  if (page && (json_text(*page, "kind") != settings_.kind + "List" ||
               json_text(*page, "apiVersion") != settings_.api_version)) {
    fail(ApiErrorReason::Garbage, "a list of another kind");
    return;
  }
  const std::string version = metadata != nullptr ? json_text(*metadata, "resourceVersion") : "";
  if (version.empty() || version.size() > kMostVersionBytes || !page->contains("items")) {
    fail(ApiErrorReason::Garbage, "no list");
    return;
  }
  nlohmann::json& items = (*page)["items"];
  if (!items.is_array() && !items.is_null()) {
    fail(ApiErrorReason::Garbage, "a list whose items are none");
    return;
  }
  std::string next = json_text(*metadata, "continue");
  if (next.size() > kMostContinueBytes) {
    fail(ApiErrorReason::Garbage,
         "a page whose next one has a name of more than " + std::to_string(kMostContinueBytes) + " bytes");
    return;
  }
  if (!next.empty() && ++pages_ >= kMostPages) {
    fail(ApiErrorReason::TooMany, "a list of more than " + std::to_string(kMostPages) + " pages");
    return;
  }
  std::string ignored;
  for (nlohmann::json& item : items) {
    if (!item.is_object()) fail(ApiErrorReason::Garbage, "a list with an item that is no object");
    if (failure_ || !put(item, ignored)) return;
  }
  continue_ = std::move(next);
  if (continue_.empty()) {
    sink_.end_replace();
    version_ = version;
  }
}

bool Reflector::fail(ApiErrorReason reason, std::string message, int status) {
  failure_ = ApiError{reason, std::move(message)};
  failure_status_ = status;
  return false;
}

void Reflector::on_end(const ApiEnd& end, ApiTime now) {
  if (!open_) return;
  now_ = now;
  judge(end);
  if (!failure_ && step_ == Step::Page) take_page();
  open_ = false;
  if (counters_.current(now)) counters_.followed_at = now;
  if (counters_.following) told_ = told_ || now - opened_ >= kHealthy;
  counters_.following = false;
  if (step_ == Step::Page && !failure_) {
    if (!version_.empty()) counters_.followed_at = now;
    due_ = now;  // the next page, or following
    return;
  }
  recover(end, now);
  wait(end, now);
}

// Whether the answer as a whole was good.
void Reflector::judge(const ApiEnd& end) {
  if (failure_) return;
  if (end.broken) {
    failure_ = end.broken;
  } else if (end.status != 200) {
    failure_ = status_error(end.status, body_);
    failure_status_ = end.status;
  } else if (step_ == Step::Initial) {
    fail(ApiErrorReason::Cut, "the stream ended before its initial events did");
  } else if (step_ == Step::Follow && lines_.pending() > 0) {
    fail(ApiErrorReason::Cut, "the stream ended in the middle of an event");
  }
}

// What is asked for next.
void Reflector::recover(const ApiEnd& end, ApiTime now) {
  if (step_ == Step::Follow && status_ == 200 && now - opened_ >= kHealthy) {
    backoff_.reset();
    failed_answers_ = 0;
    gone_before_ = false;
  }
  if (!failure_) return;
  if (step_ == Step::Initial && refuses_streaming(failure_status_)) {
    sink_.abandon_replace();
    paged_ = true;  // no error: pages are asked for next
    return;
  }
  ++counters_.errors[static_cast<std::size_t>(failure_->reason)];
  counters_.last_error = settings_.kind + ": " + failure_->message;
  if (end.status != 0 && failure_->reason != ApiErrorReason::Throttled) ++failed_answers_;
  const ApiErrorReason reason = failure_->reason;
  if (step_ == Step::Initial) {
    sink_.abandon_replace();
    // One that began to stream and found no end does not know how to end a list.
    if (reason == ApiErrorReason::TimedOut && status_ == 200) paged_ = true;
  } else if (step_ == Step::Page) {
    if (reason == ApiErrorReason::TooLarge) page_objects_ = std::max(1, page_objects_ / 4);
    const bool again = reason == ApiErrorReason::TooLarge || reason == ApiErrorReason::Throttled ||
                       reason == ApiErrorReason::Unauthorized || reason == ApiErrorReason::Server || end.broken;
    if (!again || failed_answers_ >= kDoubtedAfter || continue_.empty()) start_over();
  } else {
    // A server that says in a stream that it cannot go on says so again of the same version: etcd does of an object
    // whose version before it has compacted.
    const bool told = failure_status_ != 0 && status_ == 200 && reason != ApiErrorReason::Throttled;
    if (told || reason == ApiErrorReason::Gone || reason == ApiErrorReason::Refused || failed_answers_ >= kDoubtedAfter)
      start_over();
  }
}

void Reflector::start_over() {
  sink_.abandon_replace();
  version_.clear();
  continue_.clear();
  failed_answers_ = 0;
}

void Reflector::wait(const ApiEnd& end, ApiTime now) {
  // The end of a stream is no failure, nor is a version that has grown too old; once. That it has grown too old is
  // what a server says first that was away for long, and it has been waited for already.
  const bool gone = failure_ && failure_->reason == ApiErrorReason::Gone;
  const bool expected = !failure_ || (step_ == Step::Initial && refuses_streaming(failure_status_));
  const bool first = gone ? !gone_before_ : expected && backoff_.failures() == 0;
  const bool at_once = first && end.retry_after.count() == 0;
  gone_before_ = gone_before_ || gone;
  const auto pause = backoff_.next(end.retry_after);
  due_ = at_once ? now : now + pause;
}

}  // namespace grantd
