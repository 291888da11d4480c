#include "crd-sync/api/json.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace grantd {
namespace {

using Json = nlohmann::json;

// Looks at a text without keeping anything of it.
class Guard {
 public:
  explicit Guard(const JsonLimits& limits) : limits_(limits) {}

  bool null() { return value(); }
  bool boolean(bool) { return value(); }
  bool number_integer(Json::number_integer_t) { return value(); }
  bool number_unsigned(Json::number_unsigned_t) { return value(); }
  bool number_float(Json::number_float_t, const Json::string_t&) { return value(); }
  bool string(Json::string_t&) { return value(); }
  bool binary(Json::binary_t&) { return false; }
  bool start_object(std::size_t) { return value() && ++depth_ <= limits_.depth; }
  bool key(Json::string_t&) { return true; }
  bool end_object() { return --depth_ >= 0; }
  bool start_array(std::size_t) { return value() && ++depth_ <= limits_.depth; }
  bool end_array() { return --depth_ >= 0; }
  bool parse_error(std::size_t, const std::string&, const Json::exception&) { return false; }

 private:
  bool value() { return ++values_ <= limits_.values; }

  const JsonLimits limits_;
  std::size_t values_ = 0;
  int depth_ = 0;
};

// What leads to a member; nothing stands for a place in an array.
using Path = std::vector<std::optional<std::string>>;

// Of an object, of what an event of a watch tells of, and of what a list has.
bool is_managed_fields(const Path& path) {
  static const std::array<Path, 3> kPaths = {Path{"metadata", "managedFields"},
                                             {"object", "metadata", "managedFields"},
                                             {"items", std::nullopt, "metadata", "managedFields"}};
  return std::find(kPaths.begin(), kPaths.end(), path) != kPaths.end();
}

}  // namespace

std::optional<Json> parse_json(std::string_view text, const JsonLimits& limits) {
  Guard guard(limits);
  if (!Json::sax_parse(text, &guard)) return std::nullopt;
  Path path;
  const auto is_read = [&path](int depth, Json::parse_event_t event, Json& value) {
    constexpr int kDeepest = 4;
    if (event != Json::parse_event_t::key || depth > kDeepest) return true;
    path.resize(static_cast<std::size_t>(depth) - 1);
    path.emplace_back(value.get_ref<const std::string&>());
    return !is_managed_fields(path);
  };
  Json parsed = Json::parse(text, is_read, false);
  if (parsed.is_discarded()) return std::nullopt;
  return parsed;
}

const Json* json_member(const Json& value, const char* name) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(name);
  return found == value.end() ? nullptr : &*found;
}

std::string json_text(const Json& value, const char* name) {
  const Json* member = json_member(value, name);
  return member != nullptr && member->is_string() ? member->get_ref<const std::string&>() : std::string();
}

std::size_t json_bytes(const nlohmann::json& value) {
  constexpr std::size_t kOfEach = 128;
  std::size_t bytes = kOfEach;
  if (value.is_string()) bytes += value.get_ref<const std::string&>().size();
  if (value.is_object())
    for (const auto& [key, item] : value.items()) bytes += key.size() + json_bytes(item);
  if (value.is_array())
    for (const Json& item : value) bytes += json_bytes(item);
  return bytes;
}

std::string dump_json(const nlohmann::json& value) {
  return value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace grantd
