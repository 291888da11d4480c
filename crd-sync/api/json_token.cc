#include "crd-sync/api/json_token.h"

#include <string_view>

namespace grantd {
namespace {

bool is_digit(unsigned char byte) { return byte >= '0' && byte <= '9'; }

}  // namespace

JsonText::Step JsonText::take(unsigned char byte) {
  switch (state_) {
    case State::Between:
      return begin(byte);
    case State::Escape:
      return escape(byte);
    case State::Hex:
      return hex(byte);
    case State::Backslash:
      state_ = State::Unit;
      return byte == '\\' ? Step::More : Step::Bad;
    case State::Unit:
      state_ = State::Hex;
      return byte == 'u' ? Step::More : Step::Bad;
    case State::Utf8:
      break;
  }
  if (byte < low_ || byte > high_) return Step::Bad;
  return wait(more_ - 1, 0x80, 0xBF);
}

JsonText::Step JsonText::begin(unsigned char byte) {
  if (byte == '"') return Step::End;
  if (byte == '\\') {
    state_ = State::Escape;
    return Step::More;
  }
  if (byte < 0x80) return byte < 0x20 ? Step::Bad : Step::More;
  if (byte < 0xC2 || byte > 0xF4) return Step::Bad;
  if (byte < 0xE0) return wait(1, 0x80, 0xBF);
  if (byte < 0xF0) return wait(2, byte == 0xE0 ? 0xA0 : 0x80, byte == 0xED ? 0x9F : 0xBF);
  return wait(3, byte == 0xF0 ? 0x90 : 0x80, byte == 0xF4 ? 0x8F : 0xBF);
}

JsonText::Step JsonText::wait(unsigned more, unsigned char low, unsigned char high) {
  state_ = more > 0 ? State::Utf8 : State::Between;
  more_ = more;
  low_ = low;
  high_ = high;
  return Step::More;
}

JsonText::Step JsonText::escape(unsigned char byte) {
  constexpr std::string_view kShort = "\"\\/bfnrt";
  state_ = byte == 'u' ? State::Hex : State::Between;
  digits_ = unit_ = 0;
  const bool known = byte == 'u' || kShort.find(static_cast<char>(byte)) != kShort.npos;
  return known ? Step::More : Step::Bad;
}

// The halves of a pair come together and in order, or not at all.
JsonText::Step JsonText::hex(unsigned char byte) {
  const unsigned char letter = byte | 0x20U;
  if (!is_digit(byte) && (letter < 'a' || letter > 'f')) return Step::Bad;
  unit_ = unit_ * 16 + (is_digit(byte) ? byte - static_cast<unsigned>('0') : letter - static_cast<unsigned>('a') + 10);
  if (++digits_ < 4) return Step::More;
  const bool is_low = unit_ >= 0xDC00 && unit_ <= 0xDFFF;
  if (is_low != low_half_) return Step::Bad;
  low_half_ = unit_ >= 0xD800 && unit_ <= 0xDBFF;
  state_ = low_half_ ? State::Backslash : State::Between;
  digits_ = unit_ = 0;
  return Step::More;
}

bool JsonNumber::take(unsigned char byte) {
  const bool digit = is_digit(byte), exponent = byte == 'e' || byte == 'E';
  const auto turn = [this](bool takes, State next) {
    if (takes) state_ = next;
    return takes;
  };
  switch (state_) {
    case State::Begin:
      if (byte == '-') return turn(true, State::Minus);
      [[fallthrough]];
    case State::Minus:
      return turn(digit, byte == '0' ? State::Zero : State::Digits);
    case State::Digits:
      if (digit) return true;
      [[fallthrough]];
    case State::Zero:
      return turn(byte == '.', State::Point) || turn(exponent, State::E);
    case State::Point:
      return turn(digit, State::Fraction);
    case State::Fraction:
      return digit || turn(exponent, State::E);
    case State::E:
      if (byte == '+' || byte == '-') return turn(true, State::Sign);
      [[fallthrough]];
    case State::Sign:
    case State::Exponent:
      return turn(digit, State::Exponent);
  }
  return false;
}

bool JsonNumber::whole() const {
  return state_ == State::Zero || state_ == State::Digits || state_ == State::Fraction || state_ == State::Exponent;
}

}  // namespace grantd
