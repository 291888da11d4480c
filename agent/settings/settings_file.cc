#include "agent/settings/settings_file.h"

#include "crd-sync/names.h"

#define TOML_ENABLE_FORMATTERS 0
#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace grantd {

namespace {

constexpr const char* kAcceptedFile = "; accepted: a file of settings, NAME = VALUE in each line (TOML)";
constexpr const char* kAcceptedValues = "; accepted: \"text\", a whole number, true, false, or a list of these";

Result<std::string> content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  file.peek();  // a directory opens too
  if (!file.is_open() || file.bad()) return system_error("'" + path + "' cannot be read", errno);
  text << file.rdbuf();
  return std::move(text).str();
}

std::string line_of(const std::string& text, std::size_t number) {
  std::istringstream lines(text);
  std::string line;
  for (std::size_t at = 0; at < number; ++at) std::getline(lines, line);
  return line;
}

std::optional<std::string> value_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return std::to_string(number->get());
  if (const auto* choice = node.as_boolean()) return choice->get() ? "true" : "false";
  return std::nullopt;
}

std::string kind_of(const toml::node& node) {
  std::ostringstream kind;
  kind << node.type();
  return kind.str();
}

Result<FileEntry> entry_of(const toml::key& key, const toml::node& node, const std::string& path) {
  FileEntry entry;
  entry.name = key.str();
  entry.origin = path + ":" + std::to_string(key.source().begin.line);
  const std::string where = entry.origin + ": ";
  if (node.is_table() || node.is_array_of_tables())
    return Error{where + "section '" + entry.name + "'; accepted: entries without sections"};
  const toml::array* list = node.as_array();
  entry.list = list != nullptr;
  const auto add = [&](const toml::node& each) {
    auto value = value_of(each);
    if (value) entry.values.push_back(std::move(*value));
    return value.has_value();
  };
  if (!list && !add(node)) return Error{where + entry.name + ": a " + kind_of(node) + kAcceptedValues};
  if (list && list->empty())
    return Error{where + entry.name + ": an empty list; accepted: a list of values, or no such entry"};
  if (list)
    for (const toml::node& each : *list)
      if (!add(each)) return Error{where + entry.name + ": a " + kind_of(each) + " in the list" + kAcceptedValues};
  return entry;
}

bool may_pass_for_settings(const std::string& name) {
  if (is_left_behind(name)) return false;
  return name.starts_with("grantd.") || name.ends_with(".toml") || name.ends_with(".conf");
}

}  // namespace

std::vector<std::string> files_beside(const std::string& usual_file) {
  const std::filesystem::path usual(usual_file);
  std::vector<std::string> beside;
  std::error_code failed;  // the directory need not be there
  std::filesystem::directory_iterator entry(usual.parent_path(), failed);
  for (; !failed && entry != std::filesystem::directory_iterator(); entry.increment(failed)) {
    std::error_code unknown;
    const std::string name = entry->path().filename().string();
    if (name != usual.filename() && may_pass_for_settings(name) && !entry->is_directory(unknown))
      beside.push_back(entry->path().string());
  }
  std::sort(beside.begin(), beside.end());
  return beside;
}

Result<std::vector<FileEntry>> read_settings_file(const std::string& path) {
  const auto text = content_of(path);
  if (!text) return Error{text.error().message + kAcceptedFile, text.error().error_number};
  toml::table table;
  try {
    table = toml::parse(std::string_view(text.value()));
  } catch (const toml::parse_error& error) {
    const auto line = error.source().begin.line;
    return Error{path + ":" + std::to_string(line) + ": '" + line_of(text.value(), line) +
                 "': " + std::string(error.description()) + kAcceptedFile};
  }
  std::vector<std::pair<toml::source_index, FileEntry>> found;
  for (const auto& [key, node] : table) {
    auto entry = entry_of(key, node, path);
    if (!entry) return entry.error();
    found.emplace_back(key.source().begin.line, std::move(entry).value());
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<FileEntry> entries;
  for (auto& each : found) entries.push_back(std::move(each.second));
  return entries;
}

}  // namespace grantd
