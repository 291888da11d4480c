#include "crd-sync/fields.h"

#include "crd-sync/element_path.h"
#include "crd-sync/problem.h"
#include "crd-sync/whole_number.h"

#include <algorithm>
#include <utility>

namespace grantd {
namespace {

constexpr int kMaxErrorsPerObject = 20;

std::string joined(const std::set<std::string, std::less<>>& names) {
  std::string result;
  for (const std::string& name : names) result += (result.empty() ? "" : ", ") + name;
  return result.empty() ? "no field" : result;
}

// What a node is, as a message says it: "a list".
std::string_view type_name(const YamlNode& node) {
  switch (node.type) {
    case YamlNode::Type::Null:
      return "empty";
    case YamlNode::Type::Sequence:
      return "a list";
    case YamlNode::Type::Map:
      return "a map";
    case YamlNode::Type::Scalar:
      break;
  }
  switch (scalar_meaning(node)) {
    case ScalarMeaning::Integer:
      return "a number";
    case ScalarMeaning::Number:
      return "a number";
    case ScalarMeaning::Boolean:
      return "a boolean";
    case ScalarMeaning::Text:
      break;
  }
  return "text";
}

// Keys of others in a path: a.b where they are plain, a["b.c"] where they are not.
std::string key_path(const std::string& path, std::string_view key) {
  const bool plain = !key.empty() && key.find_first_of(".[]\"/ ") == std::string_view::npos;
  if (plain) return path.empty() ? std::string(key) : path + "." + std::string(key);
  return path + "[\"" + std::string(key) + "\"]";
}

bool has_duplicates(const YamlNode& node) {
  return has_duplicate_keys(node) || std::any_of(node.items.begin(), node.items.end(), has_duplicates);
}

// There twice, they are mostly two objects'.
bool every_object_has(std::string_view key) {
  return key == "apiVersion" || key == "kind" || key == "metadata" || key == "spec";
}

}  // namespace

void ObjectProblems::add(Problem problem) {
  // The bound keeps a hostile file from filling memory; read_manifests says that it was reached.
  if (problems_.size() < kMaxProblemsPerFile) problems_.push_back(std::move(problem));
}

void ObjectProblems::error(int line, std::string field, std::string_view value, std::string message,
                           std::string_view accepted) {
  add_error({Severity::Error, at(line), object_, std::move(field), escape_text(value), std::move(message),
             std::string(accepted)});
}

void ObjectProblems::error(const TextField& text, std::string message, std::string_view accepted) {
  Problem problem{Severity::Error,    at(text.line),        object_, text.path, escape_text(text.text),
                  std::move(message), std::string(accepted)};
  problem.empty_value = text.text.empty();
  add_error(std::move(problem));
}

void ObjectProblems::add_error(Problem problem) {
  ++errors_;
  if (errors_ > kMaxErrorsPerObject + 1) return;
  if (errors_ == kMaxErrorsPerObject + 1)
    problem = {Severity::Error,       problem.position, object_, "", "", "has more errors, which are not shown",
               "an object with fewer"};
  add(std::move(problem));
}

void ObjectProblems::warn(int line, std::string field, std::string_view value, std::string message) {
  add({Severity::Warning, at(line), object_, std::move(field), escape_text(value), std::move(message), ""});
}

std::string Fields::path(std::string_view name) const { return key_path(path_, name); }

const YamlNode* Fields::take(std::string_view name) {
  taken_.emplace(name);
  return map_.find(name);
}

void Fields::missing(std::string_view name, std::string_view accepted) {
  problems_.error(map_.line, path(name), "", "is missing", accepted);
}

void Fields::wrong(const YamlNode& node, std::string path, int line, std::string message, std::string_view accepted) {
  if (node.type == YamlNode::Type::Scalar)
    problems_.error({node.text, std::move(path), line}, std::move(message), accepted);
  else
    problems_.error(line, std::move(path), "", std::move(message), accepted);
}

std::optional<TextField> Fields::read_text(const YamlNode& node, std::string path, int line, bool integers,
                                           std::string_view accepted) {
  if (node.type != YamlNode::Type::Scalar) {
    wrong(node, std::move(path), line, "is " + std::string(type_name(node)), accepted);
    return std::nullopt;
  }
  const ScalarMeaning meaning = scalar_meaning(node);
  const bool whole = meaning == ScalarMeaning::Integer ? !leads_with_zero(node.text) : whole_number(node).has_value();
  const bool accept_number = integers && whole;
  if (meaning != ScalarMeaning::Text && !accept_number) {
    wrong(node, std::move(path), line, "is " + std::string(type_name(node)) + " as YAML reads it",
          std::string(accepted) + "; in quotes where it looks like something else");
    return std::nullopt;
  }
  return TextField{node.text, std::move(path), line};
}

std::optional<TextField> Fields::text(std::string_view name) {
  const YamlNode* node = take(name);
  return node ? read_text(*node, path(name), node->line, false, "text") : std::nullopt;
}

std::optional<TextField> Fields::quantity(std::string_view name, std::string_view accepted) {
  const YamlNode* node = take(name);
  return node ? read_text(*node, path(name), node->line, true, accepted) : std::nullopt;
}

std::optional<bool> Fields::boolean(std::string_view name) {
  const YamlNode* node = take(name);
  if (!node) return std::nullopt;
  if (node->type == YamlNode::Type::Scalar && !node->quoted && (node->text == "true" || node->text == "false"))
    return node->text == "true";
  wrong(*node, path(name), node->line, "is " + std::string(type_name(*node)), "true or false, without quotes");
  return std::nullopt;
}

std::optional<std::int64_t> Fields::integer(std::string_view name, std::int64_t low, std::int64_t high) {
  const YamlNode* node = take(name);
  if (!node) return std::nullopt;
  const std::string accepted =
      "a whole number from " + std::to_string(low) + " to " + std::to_string(high) + ", without quotes";
  const std::optional<std::uint64_t> whole = node->type == YamlNode::Type::Scalar ? whole_number(*node) : std::nullopt;
  if (!whole && (node->type != YamlNode::Type::Scalar || scalar_meaning(*node) != ScalarMeaning::Integer)) {
    wrong(*node, path(name), node->line, "is " + std::string(type_name(*node)), accepted);
    return std::nullopt;
  }
  const std::int64_t value = whole ? static_cast<std::int64_t>(*whole) : -1;
  if (!whole || value < low || value > high) {
    problems_.error(node->line, path(name), node->text, "is out of range", accepted);
    return std::nullopt;
  }
  return value;
}

std::optional<Fields> Fields::map(std::string_view name) {
  const YamlNode* node = take(name);
  if (!node) return std::nullopt;
  if (node->type != YamlNode::Type::Map) {
    wrong(*node, path(name), node->line, "is " + std::string(type_name(*node)), "a map of fields; {} for none");
    return std::nullopt;
  }
  return Fields(*node, path(name), problems_);
}

const std::vector<YamlNode>* Fields::list(std::string_view name, int& line) {
  const YamlNode* node = take(name);
  if (!node) return nullptr;
  line = node->line;
  if (node->type != YamlNode::Type::Sequence) {
    wrong(*node, path(name), line, "is " + std::string(type_name(*node)), "a list; [] for none");
    return nullptr;
  }
  if (node->items.size() > kMaxElements) {
    problems_.error(line, path(name), "", "has " + std::to_string(node->items.size()) + " elements",
                    "at most " + std::to_string(kMaxElements));
    return nullptr;
  }
  return &node->items;
}

std::optional<std::vector<TextField>> Fields::texts(std::string_view name) {
  int line = 0;
  const auto* items = list(name, line);
  if (!items) return std::nullopt;
  std::vector<TextField> result;
  result.reserve(items->size());
  for (std::size_t index = 0; index < items->size(); ++index)
    if (auto text = read_text((*items)[index], element_path(path(name), index), (*items)[index].line, false, "text"))
      result.push_back(std::move(*text));
  return result;
}

std::optional<std::vector<Fields>> Fields::maps(std::string_view name) {
  int line = 0;
  const auto* items = list(name, line);
  if (!items) return std::nullopt;
  std::vector<Fields> result;
  for (std::size_t index = 0; index < items->size(); ++index) {
    const YamlNode& item = (*items)[index];
    if (item.type == YamlNode::Type::Map)
      result.emplace_back(item, element_path(path(name), index), problems_);
    else
      wrong(item, element_path(path(name), index), item.line, "is " + std::string(type_name(item)), "a map of fields");
  }
  return result;
}

std::optional<TextField> Fields::required_text(std::string_view name, std::string_view accepted) {
  if (!take(name)) missing(name, accepted);
  return text(name);
}

std::optional<Fields> Fields::required_map(std::string_view name) {
  if (!take(name)) missing(name, "a map of fields");
  return map(name);
}

std::vector<std::pair<YamlKey, TextField>> Fields::each(bool integers, AcceptedOf accepted_of) {
  std::vector<std::pair<YamlKey, TextField>> result;
  for (std::size_t index = 0; index < map_.keys.size(); ++index) {
    const YamlKey& key = map_.keys[index];
    taken_.insert(key.text);
    if (auto text =
            read_text(map_.items[index], path(key.text), map_.items[index].line, integers, accepted_of(key.text)))
      result.emplace_back(key, std::move(*text));
  }
  return result;
}

std::vector<std::pair<YamlKey, TextField>> Fields::each_text() {
  return each(false, [](std::string_view) { return std::string_view("text"); });
}

std::vector<std::pair<YamlKey, TextField>> Fields::each_quantity(AcceptedOf accepted_of) {
  return each(true, accepted_of);
}

void Fields::finish() {
  for (const YamlKey& key : map_.keys)
    if (!taken_.contains(key.text))
      problems_.error(key.line, path(key.text), "", "is an unknown field", joined(taken_));
}

void report_duplicate_keys(const YamlNode& node, const std::string& path, ObjectProblems& problems) {
  if (!has_duplicates(node)) return;  // paths are made only where something is wrong
  const bool map = node.type == YamlNode::Type::Map;
  if (map) report_own_duplicate_keys(node, path, problems);
  for (std::size_t index = 0; index < node.items.size(); ++index)
    report_duplicate_keys(node.items[index], map ? key_path(path, node.keys[index].text) : element_path(path, index),
                          problems);
}

bool has_duplicate_keys(const YamlNode& map) {
  std::set<std::string_view> seen;
  return std::any_of(map.keys.begin(), map.keys.end(),
                     [&](const YamlKey& key) { return !seen.insert(key.text).second; });
}

void report_own_duplicate_keys(const YamlNode& map, const std::string& path, ObjectProblems& problems) {
  std::set<std::string_view> seen;
  for (const YamlKey& key : map.keys)
    if (!seen.insert(key.text).second)
      problems.error(key.line, key_path(path, key.text), "", "is there twice",
                     path.empty() && every_object_has(key.text) ? "each field once; a line --- between two objects"
                                                                : "each field once");
}

}  // namespace grantd
