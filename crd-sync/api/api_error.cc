#include "crd-sync/api/api_error.h"

#include "crd-sync/api/json.h"
#include "crd-sync/problem.h"

#include <array>

namespace grantd {
namespace {

constexpr std::array<std::string_view, kApiErrorReasons> kNames = {
    "connection", "timed_out", "cut",     "unauthorized", "forbidden", "not_found", "gone",
    "throttled",  "server",    "refused", "garbage",      "too_large", "too_many",  "object"};

constexpr std::size_t kShownMessageBytes = 300;

}  // namespace

std::string_view api_error_name(ApiErrorReason reason) { return kNames[static_cast<std::size_t>(reason)]; }

ApiErrorReason status_reason(int status) {
  switch (status) {
    case 401:
      return ApiErrorReason::Unauthorized;
    case 403:
      return ApiErrorReason::Forbidden;
    case 404:
      return ApiErrorReason::NotFound;
    case 410:
      return ApiErrorReason::Gone;
    case 429:
      return ApiErrorReason::Throttled;
    default:
      return status >= 500 ? ApiErrorReason::Server : ApiErrorReason::Refused;
  }
}

ApiError status_error(int status, std::string_view body) {
  std::string message = "status " + std::to_string(status);
  std::string text(body.substr(0, kShownMessageBytes));
  if (const auto json = parse_json(body, {})) text = json_text(*json, "message");
  if (!text.empty()) message += ": " + escape_text(text, kShownMessageBytes);
  return {status_reason(status), std::move(message)};
}

}  // namespace grantd
