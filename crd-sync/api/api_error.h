// What can go wrong with the API server, in as many words as somebody who watches it needs.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace grantd {

enum class ApiErrorReason : std::uint8_t {
  Connection,    // no connection, or TLS that does not verify
  TimedOut,      // nothing came, or not all in time
  Cut,           // an answer that ended in the middle
  Unauthorized,  // 401: the token is read again
  Forbidden,     // 403: a right is missing
  NotFound,      // 404: the resource is not installed
  Gone,          // 410: the resource version is too old
  Throttled,     // 429
  Server,        // 5xx
  Refused,       // any other status
  Garbage,       // an answer that is not what the API says
  TooLarge,      // a document above the bound
  TooMany,       // more objects than are kept
  Object,        // one object that cannot be read; its last version stays
};
inline constexpr std::size_t kApiErrorReasons = 14;

std::string_view api_error_name(ApiErrorReason reason);  // "timed_out", as metrics have it

struct ApiError {
  ApiErrorReason reason = ApiErrorReason::Connection;
  std::string message;  // one line, escaped
};

// Of a status that is not 2xx.
ApiErrorReason status_reason(int status);

// Such an answer as an error: its status, and the message of the Status object in `body` if there is one.
ApiError status_error(int status, std::string_view body);

}  // namespace grantd
