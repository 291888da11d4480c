// What gRPC puts around one message, over an HTTP/2 that libcurl speaks. Pure.
#pragma once

#include "maps/result.h"

#include <string>
#include <string_view>

namespace grantd {

inline constexpr const char* kGrpcContent = "application/grpc";

std::string grpc_frame(const std::string& message);

// An answer, as it comes in.
class GrpcAnswer {
 public:
  static constexpr std::size_t kMaxBytes = 16 << 20;

  void header(std::string_view line);  // of its head and of what follows its body
  bool data(std::string_view bytes);   // false: too much
  // The one message of an answer that has come whole, or what the server said instead.
  Result<std::string> message(int http_status) const;

 private:
  std::string body_, status_, why_;
};

}  // namespace grantd
