// The API server as the agent uses it: resource kinds that are followed, and requests that are sent.
#pragma once

#include "crd-sync/api/http_client.h"
#include "crd-sync/api/reflector.h"

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

namespace grantd {

struct ApiAnswer {
  int status = 0;
  std::string body;
  std::optional<ApiError> error;             // of anything but a whole answer with 2xx
  std::chrono::milliseconds retry_after{0};  // as the server asked
};

class ApiClient {
 public:
  static Result<std::unique_ptr<ApiClient>> open(const ApiServer& server, const HttpLimits& limits = {});

  // For the event loop: to be called whenever fd() is readable. Afterwards the sinks of the reflectors
  // may have changed.
  int fd() const { return http_->fd(); }
  void work();

  // From now on. `reflector` outlives this, or is unfollowed first.
  void follow(Reflector& reflector);
  // Makes fd() readable then, whatever else happens; the last call counts.
  void wake(ApiTime due);
  // Not any more; its sink stays as it is. Not from a handler of the client.
  void unfollow(Reflector& reflector);

  using Done = std::function<void(const ApiAnswer& answer)>;
  // Sends it again after a back-off, up to `attempts` times, where the server or the way to it fails, throttles,
  // or does not know the token any longer. Calls `done` once, from work().
  void send(const ApiRequest& request, Done done, int attempts = 3);

  // Requests of send() that have no answer yet; beyond kMostRequests they are answered with an error.
  static constexpr std::size_t kMostRequests = 256;
  static constexpr std::size_t kOpenRequests = 4;  // side by side, the others wait for their turn
  static constexpr std::size_t kMaxAnswer = 4U << 20;
  std::size_t requests() const { return sent_.size(); }

 private:
  struct Followed {
    Reflector* reflector;
    std::uint64_t id = 0;  // of the open request
  };
  struct Sent {
    ApiRequest request;
    Done done;
    int attempts;
    Backoff backoff;
    ApiTime due{};
    bool open = false;
    ApiAnswer answer;
  };
  using Sending = std::list<Sent>::iterator;

  ApiClient(std::unique_ptr<HttpClient> http, Backoff::Duration first_wait)
      : first_wait_(first_wait), http_(std::move(http)) {}

  void drive();
  void drive(Followed& followed, ApiTime now);
  ApiTime drive_sent(ApiTime time);
  void drive(Sending sent);
  void end(Sending sent, const ApiEnd& end);

  const Backoff::Duration first_wait_;
  ApiTime wake_ = ApiTime::max();
  std::list<Followed> followed_;
  std::list<Sent> sent_;
  std::unique_ptr<HttpClient> http_;  // goes first: its handlers point at the others
};

}  // namespace grantd
