// Keeps the status object of this node as it should be: server-side apply, the newest state only, never a queue. The
// object goes with its Node, where the server tells which one that is (decision 36).
// Knows nothing of sockets or clocks, so that tests are both.
#pragma once

#include "crd-sync/api/api_client.h"
#include "crd-sync/api/backoff.h"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace grantd {

inline constexpr const char* kFieldManager = "grantd";

// What brings a request to the API server and its answer back, at any later time.
using SendRequest = std::function<void(const ApiRequest& request, ApiClient::Done done)>;
using ApiClock = std::function<ApiTime()>;

struct StatusWriterCounters {
  std::uint64_t done = 0, failed = 0;
  std::string last_error;  // "" after a success
};

class StatusWriter {
 public:
  static constexpr std::chrono::milliseconds kQuiet{5'000};        // between two writes
  static constexpr std::chrono::milliseconds kQuietBroken{1'000};  // where something broke
  static constexpr std::chrono::minutes kLookAgain{10};            // whether somebody removed the object

  // Outlives what `send` sends by.
  StatusWriter(const std::string& node, SendRequest send, ApiClock clock, std::uint64_t seed);
  StatusWriter(const StatusWriter&) = delete;
  StatusWriter& operator=(const StatusWriter&) = delete;

  // Whether it is known what the object said before this agent came: until then nothing is written.
  bool ready() const { return ready_; }
  // The object as it was found; nothing where there was none.
  const std::optional<nlohmann::json>& found() const { return found_; }

  // The whole object from now on. `broke`: something is no longer as it should be, which does not wait.
  void want(std::string text, bool broke);

  // Sends what is due. To be called at due(), and by want() and answers it is.
  void drive();
  ApiTime due() const;

  const StatusWriterCounters& counters() const { return counters_; }

 private:
  enum class Step : std::uint8_t { Look, Who, Make, Write };

  ApiTime write_due() const;
  void send(Step step);
  void answered(Step step, const ApiAnswer& answer);
  void looked(const ApiAnswer& answer);
  void learned(const ApiAnswer& answer);
  void forget_made();
  std::string empty_object() const;
  void fail(const ApiAnswer& answer);

  const std::string node_;
  const SendRequest send_;
  const ApiClock clock_;
  Backoff backoff_;
  StatusWriterCounters counters_;

  bool ready_ = false, asked_ = false, made_ = false, sending_ = false, broke_ = false;
  std::string node_uid_;  // "" where the server does not tell
  std::optional<nlohmann::json> found_;
  std::string wanted_, sent_, written_;
  std::optional<ApiTime> written_at_;  // when the last write began
  ApiTime look_at_{}, wait_until_{};
};

}  // namespace grantd
