// JSON that others sent, and that is sent to them: parsed within bounds and without exceptions.
#pragma once

#include <nlohmann/json.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace grantd {

struct JsonLimits {
  std::size_t values = 200'000;  // a short text can hold very many of them
  int depth = 64;
};

// Nothing where the text is no JSON, or above the limits. Leaves out metadata.managedFields of an object, of a list's
// and of a watch's, which is often the greater half of it and which nothing here reads.
std::optional<nlohmann::json> parse_json(std::string_view text, const JsonLimits& limits);

// The member of that name; nullptr where `value` is no object or has none.
const nlohmann::json* json_member(const nlohmann::json& value, const char* name);

// The member's text; "" where there is none.
std::string json_text(const nlohmann::json& value, const char* name);

// About what it takes in memory, and what is made of it: rather too much than too little.
std::size_t json_bytes(const nlohmann::json& value);

// On one line. Text of others may be no UTF-8, which JSON cannot carry: what is none is replaced.
std::string dump_json(const nlohmann::json& value);

}  // namespace grantd
