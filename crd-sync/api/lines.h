// A stream cut into its lines, which come in pieces of any size. What has no end yet is never handed out.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace grantd {

class Lines {
 public:
  explicit Lines(std::size_t limit) : limit_(limit) {}

  // Hands over each whole line, without its end; empty lines are left out. False where `take` gave
  // false, or where a line is longer than the limit: then too_long().
  bool push(std::string_view bytes, const std::function<bool(std::string_view line)>& take);

  // The bytes of a line whose end has not come.
  std::size_t pending() const { return pending_.size(); }
  bool too_long() const { return too_long_; }

 private:
  std::size_t limit_;
  std::string pending_;
  bool too_long_ = false;
};

}  // namespace grantd
