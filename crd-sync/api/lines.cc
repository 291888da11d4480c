#include "crd-sync/api/lines.h"

namespace grantd {

bool Lines::push(std::string_view bytes, const std::function<bool(std::string_view line)>& take) {
  if (filter_) return push_filtered(bytes, take);
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

bool Lines::push_filtered(std::string_view bytes, const std::function<bool(std::string_view line)>& take) {
  while (!bytes.empty()) {
    const std::size_t end = bytes.find('\n');
    const std::string_view piece = bytes.substr(0, end);
    filtered_ += piece.size();
    no_json_ = !filter_->push(piece);
    too_long_ = filter_->text().size() > limit_;
    if (no_json_ || too_long_) return false;
    if (end == bytes.npos) return true;
    bytes.remove_prefix(end + 1);
    filtered_ = 0;
    if (filter_->blank()) continue;
    no_json_ = !filter_->finish();
    if (no_json_) return false;
    const std::string line = filter_->take_text();
    filter_ = fresh_;
    if (!take(line)) return false;
  }
  return true;
}

}  // namespace grantd
