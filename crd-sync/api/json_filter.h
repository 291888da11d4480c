// A JSON document of any length in bounded memory: what nobody reads of it is let go while it comes, in pieces of any
// size.
#pragma once

#include "crd-sync/api/json_token.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

// Which members of a document are kept. A value of another type than is expected stays one of its type.
struct KeptMembers {
  std::map<std::string, KeptMembers, std::less<>> members;  // of an object, by name
  std::vector<KeptMembers> each;                            // of an array: one, for every element
  bool whole = false;                                       // all of the value, within the bounds

  void keep(std::initializer_list<std::string_view> path);
};

struct JsonFilterLimits {
  std::size_t value_bytes = 16U << 10;  // of a value that is kept whole, as it came
  std::size_t values = 256;             // in it
  int depth = 64;
};

// What stands in the place of a value above the bounds; no such thing is a label or an address.
bool is_left_out(const nlohmann::json& value);

class JsonFilter {
 public:
  explicit JsonFilter(std::shared_ptr<const KeptMembers> kept, const JsonFilterLimits& limits = {})
      : kept_(std::move(kept)), limits_(limits) {}

  // False: that is no JSON, or deeper than allowed, wherever in the document. Nothing more is taken then.
  bool push(std::string_view bytes);
  // The end of the document; false where it is none.
  bool finish() { return push(" ") && state_ == State::End; }
  bool blank() const { return state_ == State::Value && levels_.empty(); }  // nothing has come, or spaces
  // What was kept so far: a document, once it is finished.
  const std::string& text() const { return text_; }
  std::string take_text() { return std::move(text_); }

 private:
  enum class State : std::uint8_t {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    InKey,
    Colon,
    InText,
    InNumber,
    InWord,
    Next,
    End
  };
  struct Level {
    bool object;
    bool chosen;              // its members or elements are chosen among by `kept`; else it is skipped or kept whole
    const KeptMembers* kept;  // nullptr unless chosen
    bool any;                 // of it was kept
  };

  std::size_t read_text(std::string_view bytes);
  bool take(char byte);
  bool take_structure(char byte);
  bool begin_key(char byte);
  void end_key();
  const KeptMembers* wanted() const;
  bool begin_value(char byte);
  bool begin_scalar(char byte);
  void end_value();
  bool close(char byte);
  void keep(std::string_view bytes);
  void leave_out();

  std::shared_ptr<const KeptMembers> kept_;
  JsonFilterLimits limits_;
  State state_ = State::Value;
  bool bad_ = false;
  std::vector<Level> levels_;
  std::string text_;

  JsonText in_text_;
  JsonNumber in_number_;
  std::string_view word_;                // the rest of true, false or null
  std::string key_;                      // as it came
  bool key_too_long_ = false;            // for any that is kept
  const KeptMembers* member_ = nullptr;  // what is kept of the value of this key

  bool in_whole_ = false, left_out_ = false;  // in a value that is kept whole; or was, until it was above the bounds
  std::size_t whole_at_ = 0, whole_depth_ = 0, whole_values_ = 0;
};

}  // namespace grantd
