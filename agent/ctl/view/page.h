// What a subcommand shows: the same content as text for people and as JSON for programs.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace grantd {

enum class Output { Table, Json };

struct Style {
  Output output = Output::Table;
  bool colour = false;
};

// Indented, with a line break at the end; bytes that are no UTF-8 are replaced.
std::string json_text(const nlohmann::ordered_json& document);
// On one line: for streams.
std::string json_line(const nlohmann::ordered_json& document);

}  // namespace grantd
