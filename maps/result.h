// Result<T>: what a function returns that can fail. Must be checked; carries the operation, the
// object and the errno in one message. No exceptions cross our interfaces.
#pragma once

#include <cstring>
#include <string>
#include <utility>
#include <variant>

namespace grantd {

struct Error {
  std::string message;   // operation, object, and what went wrong, in one line
  int error_number = 0;  // errno, or 0 where there is none
};

// An Error of a system call: "MESSAGE: TEXT OF ERRNO (errno N)".
inline Error system_error(std::string message, int error_number) {
  message += ": " + std::string(std::strerror(error_number)) + " (errno " + std::to_string(error_number) + ")";
  return Error{std::move(message), error_number};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}
  Result(Error error) : state_(std::move(error)) {}

  bool ok() const { return std::holds_alternative<T>(state_); }
  explicit operator bool() const { return ok(); }

  // Only where ok().
  T& value() & { return std::get<T>(state_); }
  const T& value() const& { return std::get<T>(state_); }
  T&& value() && { return std::get<T>(std::move(state_)); }
  // Only where !ok().
  const Error& error() const { return std::get<Error>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), ok_(false) {}

  bool ok() const { return ok_; }
  explicit operator bool() const { return ok_; }
  const Error& error() const { return error_; }

 private:
  Error error_;
  bool ok_ = true;
};

}  // namespace grantd
