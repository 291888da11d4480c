#include "crd-sync/api/json_filter.h"

#include <algorithm>

namespace grantd {
namespace {

using Json = nlohmann::json;

constexpr std::string_view kLeftOut = R"({"":"left out"})";
constexpr std::size_t kMostKey = 512;

bool is_space(char byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }

std::string_view word_of(char first) {
  return first == 't' ? "true" : first == 'f' ? "false" : first == 'n' ? "null" : "";
}

}  // namespace

void KeptMembers::keep(std::initializer_list<std::string_view> path) {
  KeptMembers* at = this;
  for (const std::string_view name : path) {
    if (at->whole) return;
    at = &at->members[std::string(name)];
  }
  at->whole = true;
}

bool is_left_out(const Json& value) {
  if (!value.is_object() || value.size() != 1) return false;
  static const Json kMarker = Json::parse(kLeftOut);
  return value == kMarker;
}

bool JsonFilter::push(std::string_view bytes) {
  while (!bytes.empty() && !bad_) {
    if (state_ == State::InText || state_ == State::InKey) {
      bytes.remove_prefix(read_text(bytes));
    } else {
      bad_ = !take(bytes.front());
      bytes.remove_prefix(1);
    }
  }
  return !bad_;
}

// How many of them.
std::size_t JsonFilter::read_text(std::string_view bytes) {
  std::size_t count = 0;
  auto step = JsonText::Step::More;
  while (count < bytes.size() && step == JsonText::Step::More) {
    const auto byte = static_cast<unsigned char>(bytes[count++]);
    if (!in_text_.between() || !JsonText::is_plain(byte)) step = in_text_.take(byte);
  }
  keep(bytes.substr(0, count));
  const bool ended = step == JsonText::Step::End;
  bad_ = step == JsonText::Step::Bad;
  if (state_ == State::InKey) {
    const std::string_view piece = bytes.substr(0, count - (ended ? 1 : 0));
    key_too_long_ = key_too_long_ || key_.size() + piece.size() > kMostKey;
    if (!key_too_long_) key_ += piece;
    if (ended) end_key();
  } else if (ended) {
    end_value();
  }
  return count;
}

bool JsonFilter::take(char byte) {
  if (state_ == State::InNumber) {
    if (in_number_.take(static_cast<unsigned char>(byte))) {
      keep({&byte, 1});
      return true;
    }
    if (!in_number_.whole()) return false;
    end_value();
  }
  if (state_ == State::InWord) {
    if (byte != word_.front()) return false;
    keep({&byte, 1});
    word_.remove_prefix(1);
    if (word_.empty()) end_value();
    return true;
  }
  return is_space(byte) || take_structure(byte);
}

bool JsonFilter::take_structure(char byte) {
  switch (state_) {
    case State::ValueOrEnd:
      return byte == ']' ? close(byte) : begin_value(byte);
    case State::Value:
      return begin_value(byte);
    case State::KeyOrEnd:
      return byte == '}' ? close(byte) : begin_key(byte);
    case State::Key:
      return begin_key(byte);
    case State::Colon:
      keep(":");
      state_ = State::Value;
      return byte == ':';
    case State::Next:
      if (byte != ',') return close(byte);
      keep(",");
      state_ = levels_.back().object ? State::Key : State::Value;
      return true;
    default:
      return false;
  }
}

bool JsonFilter::begin_key(char byte) {
  if (byte != '"') return false;
  keep("\"");
  in_text_ = {};
  key_.clear();
  key_too_long_ = false;
  state_ = State::InKey;
  return true;
}

void JsonFilter::end_key() {
  state_ = State::Colon;
  member_ = nullptr;
  const Level& level = levels_.back();
  if (!level.chosen || key_too_long_) return;
  std::string name = key_;
  if (name.find('\\') != name.npos) {
    const Json decoded = Json::parse('"' + key_ + '"', nullptr, false);
    if (!decoded.is_string()) return;
    name = decoded.get<std::string>();
  }
  if (const auto found = level.kept->members.find(name); found != level.kept->members.end()) member_ = &found->second;
}

// Nothing where the next value is skipped, or within one that is kept whole.
const KeptMembers* JsonFilter::wanted() const {
  if (levels_.empty()) return kept_.get();
  const Level& level = levels_.back();
  if (!level.chosen) return nullptr;
  if (level.object) return member_;
  return level.kept->each.empty() ? nullptr : &level.kept->each.front();
}

bool JsonFilter::begin_value(char byte) {
  const KeptMembers* kept = wanted();
  if (kept != nullptr && !levels_.empty()) {
    if (std::exchange(levels_.back().any, true)) text_ += ',';
    if (levels_.back().object) text_ += '"' + key_ + "\":";
  }
  const bool structure = byte == '{' || byte == '[';
  if (kept != nullptr && (kept->whole || !structure)) {
    in_whole_ = true;
    left_out_ = false;
    whole_at_ = text_.size();
    whole_depth_ = levels_.size();
    whole_values_ = 0;
    kept = nullptr;
  } else if (in_whole_ && ++whole_values_ > limits_.values) {
    leave_out();
  }
  if (!structure) return begin_scalar(byte);
  if (levels_.size() >= static_cast<std::size_t>(limits_.depth)) return false;
  levels_.push_back({byte == '{', kept != nullptr, kept, false});
  if (kept != nullptr)
    text_ += byte;
  else
    keep({&byte, 1});
  state_ = byte == '{' ? State::KeyOrEnd : State::ValueOrEnd;
  return true;
}

bool JsonFilter::begin_scalar(char byte) {
  keep({&byte, 1});
  if (byte == '"') {
    in_text_ = {};
    state_ = State::InText;
    return true;
  }
  if (word_ = word_of(byte); !word_.empty()) {
    word_.remove_prefix(1);
    state_ = State::InWord;
    return true;
  }
  in_number_ = {};
  state_ = State::InNumber;
  return in_number_.take(static_cast<unsigned char>(byte));
}

void JsonFilter::end_value() {
  if (levels_.size() == whole_depth_) in_whole_ = false;
  state_ = levels_.empty() ? State::End : State::Next;
}

bool JsonFilter::close(char byte) {
  if (byte != (levels_.back().object ? '}' : ']')) return false;
  const bool chosen = levels_.back().chosen;
  levels_.pop_back();
  if (chosen)
    text_ += byte;
  else
    keep({&byte, 1});
  end_value();
  return true;
}

// Of a value that is kept whole, for as long as it is within the bounds.
void JsonFilter::keep(std::string_view bytes) {
  if (!in_whole_ || left_out_) return;
  if (text_.size() - whole_at_ + bytes.size() > limits_.value_bytes)
    leave_out();
  else
    text_ += bytes;
}

void JsonFilter::leave_out() {
  if (std::exchange(left_out_, true)) return;
  text_.resize(whole_at_);
  text_ += kLeftOut;
}

}  // namespace grantd
