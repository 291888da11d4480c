// Texts and numbers of JSON that come in pieces of any size, judged byte by byte as a whole document's would be.
#pragma once

#include <cstdint>

namespace grantd {

// What stands between two quotes: escapes, and UTF-8 of no more than its shortest form.
class JsonText {
 public:
  enum class Step : std::uint8_t { More, End, Bad };

  // `byte` changes nothing but the length, wherever between() holds.
  static bool is_plain(unsigned char byte) { return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\'; }
  bool between() const { return state_ == State::Between; }
  Step take(unsigned char byte);

 private:
  enum class State : std::uint8_t { Between, Escape, Hex, Backslash, Unit, Utf8 };

  Step begin(unsigned char byte);
  Step escape(unsigned char byte);
  Step hex(unsigned char byte);
  Step wait(unsigned more, unsigned char low, unsigned char high);

  State state_ = State::Between;
  bool low_half_ = false;  // of a pair of \u, is due
  unsigned digits_ = 0, unit_ = 0;
  unsigned more_ = 0;                    // bytes of this character
  unsigned char low_ = 0, high_ = 0xFF;  // the next one's
};

class JsonNumber {
 public:
  // False: `byte` is none of it.
  bool take(unsigned char byte);
  // It may end here.
  bool whole() const;

 private:
  enum class State : std::uint8_t { Begin, Minus, Zero, Digits, Point, Fraction, E, Sign, Exponent };
  State state_ = State::Begin;
};

}  // namespace grantd
