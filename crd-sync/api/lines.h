// A stream cut into its lines, which come in pieces of any size. What has no end yet is never handed out.
#pragma once

#include "crd-sync/api/json_filter.h"

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace grantd {

class Lines {
 public:
  // With a filter each line is a document, of which what is kept is handed over and counts for the limit.
  explicit Lines(std::size_t limit, std::optional<JsonFilter> filter = std::nullopt)
      : limit_(limit), filter_(filter), fresh_(std::move(filter)) {}

  // Hands over each whole line, without its end; empty lines are left out. False where `take` gave
  // false, where a line is longer than the limit: then too_long(), or where it is no document: then no_json().
  bool push(std::string_view bytes, const std::function<bool(std::string_view line)>& take);

  // The bytes of a line whose end has not come.
  std::size_t pending() const { return filter_ ? filtered_ : pending_.size(); }
  bool too_long() const { return too_long_; }
  bool no_json() const { return no_json_; }

 private:
  bool push_filtered(std::string_view bytes, const std::function<bool(std::string_view line)>& take);

  std::size_t limit_;
  std::string pending_;
  std::optional<JsonFilter> filter_, fresh_;
  std::size_t filtered_ = 0;
  bool too_long_ = false, no_json_ = false;
};

}  // namespace grantd
