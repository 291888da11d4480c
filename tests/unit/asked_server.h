// A server that is the test, and a clock that the test moves.
#pragma once

#include "crd-sync/status/status_writer.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace grantd {

class AskedServer : public testing::Test {
 protected:
  SendRequest sends() {
    return [this](const ApiRequest& request, ApiClient::Done done) { open_.emplace_back(request, std::move(done)); };
  }
  ApiClock clock() {
    return [this] { return now_; };
  }

  // The oldest request without an answer.
  ApiRequest next() {
    EXPECT_FALSE(open_.empty()) << "nothing was sent";
    return open_.empty() ? ApiRequest{} : open_.front().first;
  }
  void answer(int status, std::string body = "{}", ApiErrorReason reason = ApiErrorReason::Server) {
    ASSERT_FALSE(open_.empty());
    ApiAnswer answer;
    answer.status = status;
    answer.body = std::move(body);
    if (status < 200 || status > 299) answer.error = ApiError{reason, "said no"};
    const auto done = std::move(open_.front().second);
    open_.erase(open_.begin());
    done(answer);
  }

  ApiTime now_{std::chrono::hours(1)};
  std::vector<std::pair<ApiRequest, ApiClient::Done>> open_;
};

}  // namespace grantd
