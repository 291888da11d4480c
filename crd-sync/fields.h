// Reads the fields of one object's maps, each known by name. What is of a wrong type, missing,
// unknown or there twice becomes one Problem that says where, what, and what is accepted.
#pragma once

#include "crd-sync/resources.h"
#include "crd-sync/yaml_tree.h"

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

inline constexpr std::size_t kMaxProblemsPerFile = 500;

// A value as text, and where it stood.
struct TextField {
  std::string text;
  std::string path;
  int line = 0;
};

// Collects the Problems of one object.
class ObjectProblems {
 public:
  // `file` in `position` and `object` stand in every Problem.
  ObjectProblems(SourcePosition position, std::string object, std::vector<Problem>& problems)
      : position_(std::move(position)), object_(std::move(object)), problems_(problems) {}

  void error(int line, std::string field, std::string_view value, std::string message, std::string_view accepted);
  // As above, of a value that was written; an empty one is shown as "".
  void error(const TextField& text, std::string message, std::string_view accepted);
  void warn(int line, std::string field, std::string_view value, std::string message);
  int errors() const { return errors_; }
  SourcePosition at(int line) const { return {position_.file, position_.document, line}; }

 private:
  void add(Problem problem);
  void add_error(Problem problem);

  SourcePosition position_;
  std::string object_;
  std::vector<Problem>& problems_;
  int errors_ = 0;
};

// A list's elements have this many at most; far above what a Grant or a Realm can use.
inline constexpr std::size_t kMaxElements = 100'000;

// One map. Take the fields, then finish().
class Fields {
 public:
  Fields(const YamlNode& map, std::string path, ObjectProblems& problems)
      : map_(map), path_(std::move(path)), problems_(problems) {}

  // All give nothing where the field is absent, or wrong and reported.
  const YamlNode* take(std::string_view name);
  std::optional<TextField> text(std::string_view name);
  std::optional<TextField> quantity(std::string_view name, std::string_view accepted);  // int-or-string
  std::optional<bool> boolean(std::string_view name);
  std::optional<std::int64_t> integer(std::string_view name, std::int64_t low, std::int64_t high);
  std::optional<Fields> map(std::string_view name);
  std::optional<std::vector<TextField>> texts(std::string_view name);
  std::optional<std::vector<Fields>> maps(std::string_view name);

  // As above; that the field is absent is an error.
  std::optional<TextField> required_text(std::string_view name, std::string_view accepted = "text");
  std::optional<Fields> required_map(std::string_view name);

  // A map whose keys are data: every key with its value, read as `text` or `quantity` does.
  std::vector<std::pair<YamlKey, TextField>> each_text();
  using AcceptedOf = std::string_view (*)(std::string_view key);
  std::vector<std::pair<YamlKey, TextField>> each_quantity(AcceptedOf accepted_of);

  // Reports the fields that nobody took.
  void finish();

  std::string path(std::string_view name) const;
  int line() const { return map_.line; }
  ObjectProblems& problems() { return problems_; }

 private:
  std::optional<TextField> read_text(const YamlNode& node, std::string path, int line, bool integers,
                                     std::string_view accepted);
  std::vector<std::pair<YamlKey, TextField>> each(bool integers, AcceptedOf accepted_of);
  const std::vector<YamlNode>* list(std::string_view name, int& line);
  void missing(std::string_view name, std::string_view accepted);
  // What is wrong with the value of a node, be it empty text, of any type.
  void wrong(const YamlNode& node, std::string path, int line, std::string message, std::string_view accepted);

  const YamlNode& map_;
  std::string path_;
  ObjectProblems& problems_;
  std::set<std::string, std::less<>> taken_;
};

// Reports keys that a map of this tree holds twice.
void report_duplicate_keys(const YamlNode& node, const std::string& path, ObjectProblems& problems);
// Of this map alone, not of what is in it.
bool has_duplicate_keys(const YamlNode& map);
void report_own_duplicate_keys(const YamlNode& map, const std::string& path, ObjectProblems& problems);

}  // namespace grantd
