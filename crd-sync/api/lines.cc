#include "crd-sync/api/lines.h"

namespace grantd {

bool Lines::push(std::string_view bytes, const std::function<bool(std::string_view line)>& take) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    if (piece.size() + pending_.size() > limit_) {
      too_long_ = true;
      pending_.append(piece.substr(0, limit_ - pending_.size()));
      return false;
    }
    if (end == bytes.npos) {
      pending_.append(piece);
      return true;
    }
    bytes.remove_prefix(end + 1);
    // The common case needs no copy.
    std::string whole;
    if (!pending_.empty()) {
      whole = std::move(pending_);
      pending_ = {};  // and gives the memory of a long line back
      whole.append(piece);
    }
    const std::string_view line = whole.empty() ? piece : std::string_view(whole);
    if (!line.empty() && line != "\r" && !take(line)) return false;
  }
  return true;
}

}  // namespace grantd
