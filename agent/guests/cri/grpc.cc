#include "agent/guests/cri/grpc.h"

#include "crd-sync/problem.h"

#include <strings.h>

#include <cstdint>

namespace grantd {

namespace {

// A byte that says whether it is compressed, and its length, most significant byte first.
constexpr std::size_t kPrefix = 5;
constexpr std::size_t kWhyShown = 300;

}  // namespace

std::string grpc_frame(const std::string& message) {
  std::string frame(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) frame += static_cast<char>(message.size() >> shift & 0xff);
  return frame + message;
}

void GrpcAnswer::header(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == line.npos) return;
  const std::string name(line.substr(0, colon));
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);
  while (!value.empty() && (value.back() == '\r' || value.back() == '\n')) value.remove_suffix(1);
  if (strcasecmp(name.c_str(), "grpc-status") == 0) status_ = value;
  if (strcasecmp(name.c_str(), "grpc-message") == 0) why_ = value;
}

bool GrpcAnswer::data(std::string_view bytes) {
  if (body_.size() + bytes.size() > kMaxBytes) return false;
  body_ += bytes;
  return true;
}

Result<std::string> GrpcAnswer::message(int http_status) const {
  if (http_status != 200) return Error{"it answers with HTTP status " + std::to_string(http_status)};
  if (status_.empty()) return Error{"it says nothing of how the call ended, as gRPC does"};
  if (status_ != "0") return Error{"gRPC status " + escape_text(status_, 8) + ": " + escape_text(why_, kWhyShown)};
  if (body_.size() < kPrefix || body_[0] != 0) return Error{"its answer is no message that is not compressed"};
  std::uint32_t length = 0;
  for (std::size_t index = 1; index < kPrefix; index++) length = length << 8 | static_cast<std::uint8_t>(body_[index]);
  if (body_.size() - kPrefix != length) return Error{"its answer is not one message"};
  return body_.substr(kPrefix);
}

}  // namespace grantd
