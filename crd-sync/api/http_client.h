// HTTP and TLS, by libcurl: any number of requests side by side in the caller's thread, behind one
// descriptor for its event loop. Never blocks.
#pragma once

#include "crd-sync/api/api_request.h"
#include "crd-sync/api/backoff.h"
#include "crd-sync/api/credentials.h"
#include "maps/result.h"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>

namespace grantd {

struct HttpLimits {
  std::chrono::milliseconds connect{10'000};       // until TLS stands
  std::chrono::milliseconds whole{60'000};         // a request that is no stream
  Backoff::Duration first_wait = Backoff::kFirst;  // before a request is sent again
  std::chrono::milliseconds idle{150'000};         // a stream of which nothing comes; bookmarks come every minute
};

// In this order. `head` and `data` may call start() and cancel(), which take effect after them.
struct HttpHandlers {
  std::function<void(int status)> head;
  std::function<bool(std::string_view bytes)> data;             // false: cut the answer off
  std::function<void(const ApiEnd& end)> end;                   // always, unless cancelled
  std::function<void(std::string_view line)> header = nullptr;  // each line of the head, and of what follows the body
};

class HttpClient {
 public:
  // Ignores SIGPIPE for the process, which OpenSSL would raise.
  static Result<std::unique_ptr<HttpClient>> open(const ApiServer& server, const HttpLimits& limits = {});
  ~HttpClient();  // calls no handlers
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Readable whenever work() has something to do.
  int fd() const;
  void work();

  // The token, the CA and the keys are read for each request, since they rotate.
  std::uint64_t start(const ApiRequest& request, HttpHandlers handlers);
  // No handler is called any more. Also of a request that has ended.
  void cancel(std::uint64_t id);

  // Makes fd() readable then.
  void set_alarm(ApiTime due);

 private:
  struct Impl;
  explicit HttpClient(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace grantd
