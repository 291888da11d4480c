// A reflector, with a transport and a clock that the test plays.
#pragma once

#include "tests/unit/api_samples.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

namespace grantd {

class ReflectorTest : public testing::Test {
 protected:
  // Waits until a request is due, and sends it.
  std::string request() {
    if (reflector_.due() > now_) now_ = reflector_.due();
    const auto request = reflector_.next(now_);
    EXPECT_TRUE(request.has_value());
    return request ? request->path : "";
  }
  bool data(const std::string& bytes) { return reflector_.on_data(bytes, now_); }
  void head(int status = 200) { reflector_.on_head(status, now_); }
  void end(int status = 200, std::chrono::milliseconds retry_after = {}) {
    reflector_.on_end({status, std::nullopt, retry_after}, now_);
  }
  void broken(ApiErrorReason reason, int status = 200) { reflector_.on_end({status, ApiError{reason, "x"}, {}}, now_); }
  void answer(int status, const std::string& body, std::chrono::milliseconds retry_after = {}) {
    head(status);
    data(body);
    end(status, retry_after);
  }
  // Until the initial events of a and b have come.
  void follow() {
    request();
    head();
    ASSERT_TRUE(
        data(api_event("ADDED", api_pod("a", "1")) + api_event("ADDED", api_pod("b", "2")) + api_bookmark("2", true)));
    ASSERT_EQ(known(store_), "a=x b=x");
  }
  std::uint64_t errors(ApiErrorReason reason) const {
    return reflector_.counters().errors[static_cast<std::size_t>(reason)];
  }
  ApiTime::duration wait() const { return reflector_.due() - now_; }

  ApiTime now_{std::chrono::seconds(1000)};
  PodStore store_{project_pod, 100, 400'000};
  Reflector reflector_{pod_settings(), store_, 7};
};

}  // namespace grantd
