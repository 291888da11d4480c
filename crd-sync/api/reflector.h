// Follows one resource kind: which request to send when, and what its answer means. Knows nothing of
// sockets or clocks, so that tests are both. Semantics of client-go's reflector, and docs/decisions/0027.
#pragma once

#include "crd-sync/api/api_request.h"
#include "crd-sync/api/backoff.h"
#include "crd-sync/api/json_filter.h"
#include "crd-sync/api/lines.h"
#include "crd-sync/api/object_sink.h"

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>

namespace grantd {

struct ReflectorSettings {
  std::string api_version;  // "keystone.io/v1alpha1"
  std::string kind;         // "Grant"
  std::string path;         // "/apis/keystone.io/v1alpha1/grants"
  std::string field_selector, label_selector;
  std::optional<KeptMembers> kept = {};  // of each object, beside what the reflector reads; nothing: all of it
  std::size_t max_document = 4U << 20;   // bytes of what is kept of one event
  std::size_t max_page = 16U << 20;      // bytes of what is kept of one page of a list
  int page_objects = 100;
  Backoff::Duration first_wait = Backoff::kFirst;
  std::chrono::seconds initial_limit{60};  // for the initial events, one page, one event
};

struct ReflectorCounters {
  std::optional<ApiTime> last_contact;  // when anything came
  std::uint64_t lists = 0;              // whole sets begun; all but the first are relists
  std::uint64_t events = 0;
  std::array<std::uint64_t, kApiErrorReasons> errors{};  // by ApiErrorReason
  std::string last_error;
  bool following = false;              // a stream is open and continues a whole set
  ApiTime follows_from{};              // it counts from then on, or from the first that it tells
  std::optional<ApiTime> followed_at;  // when one last counted, which is open no longer

  std::uint64_t relists() const { return lists > 0 ? lists - 1 : 0; }
  // A stream is open, and it is no further one of those that end at once and tell nothing.
  bool current(ApiTime now) const { return following && now >= follows_from; }
  // How old what is known may be; 0 while current, nothing before the first whole set.
  std::optional<ApiTime::duration> lag(ApiTime now) const;
};

class Reflector {
 public:
  // `sink` outlives this. `seed` differs from node to node.
  Reflector(ReflectorSettings settings, ObjectSink& sink, std::uint64_t seed);

  // When next() or overdue() has something to say.
  ApiTime due() const { return open_ ? deadline_ : due_; }
  // The request to send now, if one is due. Then its answer: on_head, on_data as often as it takes, on_end.
  std::optional<ApiRequest> next(ApiTime now);
  // The open request has taken too long: to be cancelled, and ended with ApiErrorReason::TimedOut.
  bool overdue(ApiTime now) const { return open_ && now >= deadline_; }

  void on_head(int status, ApiTime now);
  // False: the answer is no good, to be cut off and ended.
  bool on_data(std::string_view bytes, ApiTime now);
  void on_end(const ApiEnd& end, ApiTime now);

  const ReflectorSettings& settings() const { return settings_; }
  const ReflectorCounters& counters() const { return counters_; }

 private:
  enum class Step : std::uint8_t { Initial, Page, Follow };

  std::optional<JsonFilter> filter(const std::shared_ptr<const KeptMembers>& kept) const;
  bool take_page_bytes(std::string_view bytes);
  std::string query() const;
  bool take_event(std::string_view line);
  bool take_object(std::string_view type, nlohmann::json& object);
  bool put(nlohmann::json& object, std::string& version);
  void take_page();
  void end_initial(std::string version);
  bool fail(ApiErrorReason reason, std::string message, int status = 0);
  void judge(const ApiEnd& end);
  void recover(const ApiEnd& end, ApiTime now);
  void start_over();
  void wait(const ApiEnd& end, ApiTime now);

  const ReflectorSettings settings_;
  std::shared_ptr<const KeptMembers> kept_of_event_, kept_of_page_;  // nullptr: all
  ObjectSink& sink_;
  Backoff backoff_;
  std::mt19937_64 random_;
  ReflectorCounters counters_;

  // What is asked for next.
  bool paged_ = false;  // the server refuses streaming lists
  int page_objects_;
  std::string version_;       // to follow from; "": a whole set is needed
  std::string continue_;      // of the next page
  std::size_t pages_ = 0;     // of this list so far
  int failed_answers_ = 0;    // in a row
  bool gone_before_ = false;  // since a stream has lived for long, what was followed from was too old already
  bool told_ = true;          // something was told by the last stream, or it has lived for long
  ApiTime due_{};             // of the next request

  // The open request.
  bool open_ = false;
  Step step_ = Step::Initial;
  int status_ = 0;
  ApiTime opened_{}, now_{}, deadline_{};
  Lines lines_;
  std::optional<JsonFilter> page_;  // of what is kept of one
  std::string body_;                // of a page, or of what is no success
  std::optional<ApiError> failure_;
  int failure_status_ = 0;  // of an ERROR event
};

}  // namespace grantd
