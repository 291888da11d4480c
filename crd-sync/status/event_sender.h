// Events of the API server about pods and Grants: each thing once, and again at most hourly while it lasts.
// Knows nothing of sockets or clocks, so that tests are both.
#pragma once

#include "crd-sync/resources.h"
#include "crd-sync/status/status_writer.h"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace grantd {

struct EventObject {
  std::string api_version, kind;
  std::string namespace_name, name, uid;
};

// Something that holds now and that a person should know.
struct Occasion {
  EventObject about;
  std::string reason;  // "Quarantined"
  std::string detail;  // tells occasions of one object and reason apart; "" where there is one
  std::string state;   // where this changes, it is told before the hour is over
  std::string message;
};

struct EventCounters {
  std::uint64_t done = 0, failed = 0;
  std::uint64_t held_back = 0;  // by a limit of their namespace, or of what waits; what still holds is told later
  std::string last_error;       // "" after a success
};

class EventSender {
 public:
  using WallClock = std::function<WallTime()>;

  static constexpr std::chrono::hours kAgain{1};  // as long as the API server keeps an Event
  static constexpr std::chrono::minutes kChanged{1};
  static constexpr double kBurst = 25, kPerSecond = 0.5;  // of each namespace
  static constexpr std::size_t kMostRemembered = 4096;
  // Requests without an answer, and what waits for its turn: of all namespaces, and of each.
  static constexpr std::size_t kMostOpen = 4, kMostWaiting = 256, kMostWaitingOfEach = 25;

  // Outlives what `send` sends by.
  EventSender(std::string node, SendRequest send, ApiClock clock, WallClock wall, std::uint64_t seed);
  EventSender(const EventSender&) = delete;
  EventSender& operator=(const EventSender&) = delete;

  // True: it is being told, at once or in its namespace's turn; `settled` is called once the server has it, or will
  // never take it. False: it was told already, or is held back. Until it is settled it is to be offered again while it
  // holds: of a server that is away nothing waits.
  bool offer(const Occasion& occasion, std::function<void()> settled = {});

  const EventCounters& counters() const { return counters_; }

 private:
  // CreateBeside: under a name of the server's choice, where that of the occasion is taken by somebody else.
  enum class Asked { Create, CreateBeside, Repeat };
  using Key = std::tuple<std::string, std::string, std::string>;  // uid, reason, detail
  struct Told {
    ApiTime at{};
    std::string state;
    std::uint64_t count = 0;  // as far as is known
    bool there = false;       // the server has one of ours
    std::string name;         // its name there
  };

  struct Tokens {
    double left = kBurst;
    ApiTime at{};
  };
  struct Waiting {
    Key key;
    Occasion occasion;
    std::function<void()> settled;
    std::optional<Told> before;  // it was offered
  };

  bool is_due(const Told* told, const std::string& state, ApiTime now) const;
  bool has_place(const std::string& space) const;
  bool take_token(const std::string& space, ApiTime now);
  void send_waiting();
  void forget_oldest();
  // All that an Event says, so that one that somebody made under its name before says it too.
  nlohmann::json facts(const Occasion& occasion) const;
  void create(const Waiting& told, Asked asked);
  void repeat(const Waiting& told, bool counted);
  void send(const ApiRequest& request, const Waiting& told, Asked asked);
  void answered(const ApiAnswer& answer, const Waiting& told, Asked asked);
  void take_answer(const ApiAnswer& answer, const Waiting& told, Asked asked);
  void forget_waiting();

  const std::string node_;
  const SendRequest send_;
  const ApiClock clock_;
  const WallClock wall_;
  Backoff backoff_;
  EventCounters counters_;
  std::map<Key, Told> told_;
  std::size_t open_ = 0;
  // By namespace, so that nobody who makes many pods keeps those of others, and Grants, from being told of. Without
  // those that are full.
  std::map<std::string, Tokens> tokens_;
  // By namespace, for the same reason: each has a request in its turn.
  std::map<std::string, std::deque<Waiting>> waiting_;
  std::string last_served_;  // namespace
  ApiTime wait_until_{};
};

// The same for the same occasion, before and after a restart, so that none is there twice.
std::string event_name(const std::string& node, const Occasion& occasion);

}  // namespace grantd
