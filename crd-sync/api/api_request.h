// One request to the API server and how it ended, apart from what carries it.
#pragma once

#include "crd-sync/api/api_error.h"

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace grantd {

using ApiTime = std::chrono::steady_clock::time_point;

struct ApiRequest {
  std::string method = "GET";
  std::string path;               // with its query: "/api/v1/pods?limit=100"
  std::string content_type = "";  // of the body
  std::string body = "";
  std::string socket = "";  // a unix socket to go through, with HTTP/2 from the first byte; "": the server's address
  bool stream = false;      // a watch: may take any time, as long as something comes now and then
};

struct ApiEnd {
  int status = 0;                            // 0: no answer
  std::optional<ApiError> broken;            // the answer did not come whole
  std::chrono::milliseconds retry_after{0};  // as the server asked
};

// For a query: everything but letters, digits and -._~ as %XX.
std::string percent_encoded(std::string_view text);

}  // namespace grantd
