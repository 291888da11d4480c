#include "crd-sync/yaml_tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <array>
#include <map>
#include <sstream>
#include <utility>

namespace grantd {
namespace {

// Thrown by the builder through yaml-cpp's parser, and caught in read_yaml.
struct Refused {
  int line;
  std::string message;
  std::string accepted;
};

std::size_t count_nodes(const YamlNode& node) {
  std::size_t count = 1;
  for (const YamlNode& item : node.items) count += count_nodes(item);
  return count;
}

constexpr std::size_t kAliasRoom = 64;  // values that aliases may stand for in the shortest text

std::vector<std::string_view> split_lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (true) {
    const std::size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return lines;
    text.remove_prefix(end + 1);
  }
}

// Builds one document's tree from yaml-cpp's events.
class TreeBuilder : public YAML::EventHandler {
 public:
  TreeBuilder(const YamlLimits& limits, std::string_view text)
      : limits_(limits), lines_(split_lines(text)), alias_limit_(kAliasRoom + text.size()) {}

  int document() const { return document_; }
  YamlNode take_root() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark& mark) override {
    ++document_;
    // yaml-cpp would begin a new document wherever the old one cannot go on.
    const auto line = static_cast<std::size_t>(std::max(mark.line, 0));
    if (document_ > 1 && (mark.column != 0 || line >= lines_.size() || !lines_[line].starts_with("---")))
      refuse(mark, "follows the end of the document", "one value a document; documents are parted by a line ---");
    root_ = YamlNode{};
    open_.clear();
    anchors_.clear();
    values_ = 0;
  }
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    YamlNode node = made(YamlNode::Type::Null, mark);
    // The mark of a value that is not there is the next token's.
    if (!open_.empty() && open_.back().key) node.line = open_.back().key->line;
    place(std::move(node), anchor);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    refuse_tag(mark, tag);
    YamlNode node = made(YamlNode::Type::Scalar, mark);
    node.quoted = tag == "!";
    node.text = value;
    if (node.quoted && !quote_is_closed(mark)) refuse(mark, "begins a quote that is not closed", "a closing quote");
    if (!node.quoted && value.find('\t') != std::string::npos)
      refuse(mark, "holds a tab outside of quotes", "blanks, two for each level");
    place(std::move(node), anchor);
  }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) refuse(mark, "is an alias of a value that holds it", "aliases of values before them");
    const std::size_t values = count_nodes(found->second);
    charge(values, mark.line + 1);
    // So that no text costs much more than its length.
    alias_values_ += values;
    if (alias_values_ > alias_limit_)
      refuse(mark, "is an alias too many: what they stand for is more than the text itself",
             "aliases for " + std::to_string(alias_limit_) + " values in this text");
    YamlNode copy = found->second;
    place(std::move(copy), 0);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    start(YamlNode::Type::Sequence, mark, tag, anchor);
  }
  void OnSequenceEnd() override { end(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    start(YamlNode::Type::Map, mark, tag, anchor);
  }
  void OnMapEnd() override { end(); }

 private:
  // A sequence or map whose end has not come yet.
  struct Open {
    YamlNode node;
    YAML::anchor_t anchor;
    std::optional<YamlKey> key;  // of a map: whose value comes next
  };

  [[noreturn]] static void refuse(const YAML::Mark& mark, std::string message, std::string accepted) {
    throw Refused{mark.line + 1, std::move(message), std::move(accepted)};
  }

  // yaml-cpp takes the end of the text for a closing quote.
  bool quote_is_closed(const YAML::Mark& mark) const {
    auto line = static_cast<std::size_t>(mark.line);
    if (line >= lines_.size() || static_cast<std::size_t>(mark.column) >= lines_[line].size()) return true;
    std::string_view rest = lines_[line].substr(static_cast<std::size_t>(mark.column));
    const char quote = rest[0];
    if (quote != '"' && quote != '\'') return true;
    rest.remove_prefix(1);
    while (true) {
      const std::size_t at = rest.find_first_of(quote == '"' ? "\"\\" : "'");
      if (at == std::string_view::npos) {
        if (++line >= lines_.size()) return false;
        rest = lines_[line];
      } else if (rest[at] == quote) {  // '' inside of '...' is taken for the end, which does no harm
        return true;
      } else {
        rest.remove_prefix(std::min(at + 2, rest.size()));
      }
    }
  }

  // yaml-cpp takes what an open bracket begins for a key.
  bool bracket_is_closed(const YAML::Mark& mark) const {
    int open = 0;
    auto column = static_cast<std::size_t>(std::max(mark.column, 0));
    for (auto line = static_cast<std::size_t>(std::max(mark.line, 0)); line < lines_.size(); ++line, column = 0)
      for (const char each : lines_[line].substr(std::min(column, lines_[line].size()))) {
        if (each == '{' || each == '[') ++open;
        if ((each == '}' || each == ']') && --open <= 0) return true;
      }
    return open == 0;
  }

  static void refuse_tag(const YAML::Mark& mark, const std::string& tag) {
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "carries the YAML tag \"" + tag + "\"", "no tags");
  }

  static YamlNode made(YamlNode::Type type, const YAML::Mark& mark) {
    YamlNode node;
    node.type = type;
    node.line = mark.line + 1;
    return node;
  }

  void charge(std::size_t values, int line) {
    values_ += values;
    if (values_ > limits_.values)
      throw Refused{line, "holds too many values, aliases counted as what they stand for",
                    "at most " + std::to_string(limits_.values) + " values a document"};
  }

  bool expects_key() const {
    return !open_.empty() && open_.back().node.type == YamlNode::Type::Map && !open_.back().key;
  }

  void start(YamlNode::Type type, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    refuse_tag(mark, tag);
    if (expects_key() && !bracket_is_closed(mark))
      refuse(mark, "opens a bracket that is not closed", "its closing bracket");
    if (expects_key()) refuse(mark, "a key is a map or a list", "text as a key");
    if (open_.size() >= static_cast<std::size_t>(limits_.depth))
      refuse(mark, "is nested too deeply", "at most " + std::to_string(limits_.depth) + " levels");
    open_.push_back({made(type, mark), anchor, std::nullopt});
  }

  void end() {
    Open done = std::move(open_.back());
    open_.pop_back();
    place(std::move(done.node), done.anchor);
  }

  void place(YamlNode node, YAML::anchor_t anchor) {
    charge(1, node.line);
    if (anchor != 0) {
      charge(count_nodes(node), node.line);
      anchors_[anchor] = node;
    }
    if (open_.empty()) {
      root_ = std::move(node);
      return;
    }
    Open& parent = open_.back();
    if (expects_key()) {
      if (node.type != YamlNode::Type::Scalar) throw Refused{node.line, "a key is no text", "text as a key"};
      parent.key = YamlKey{std::move(node.text), node.line};
      return;
    }
    if (parent.key) {
      parent.node.keys.push_back(std::move(*parent.key));
      parent.key.reset();
    }
    parent.node.items.push_back(std::move(node));
  }

  const YamlLimits limits_;
  const std::vector<std::string_view> lines_;
  int document_ = 0;
  YamlNode root_;
  std::vector<Open> open_;
  std::map<YAML::anchor_t, YamlNode> anchors_;
  std::size_t values_ = 0;
  const std::size_t alias_limit_;
  std::size_t alias_values_ = 0;  // of all documents
};

// The first line up to `last` that a tab indents, 0 for none.
int line_with_tab(std::string_view text, int last) {
  for (int line = 1; line <= last && !text.empty(); ++line) {
    const std::size_t first = text.find_first_not_of(' ');
    if (first != std::string_view::npos && text[first] == '\t') return line;
    text.remove_prefix(std::min(text.find('\n'), text.size() - 1) + 1);
  }
  return 0;
}

YamlError syntax_error(std::string_view text, int document, const YAML::Exception& error) {
  const int line = error.mark.line + 1;
  if (const int tab = line_with_tab(text, line); tab > 0)
    return {document, tab, "is not YAML: a tab indents the line", "blanks, two for each level"};
  return {document, line, "is not YAML: " + error.msg, "YAML or JSON"};
}

// The length of the UTF-8 sequence at the front, 0 where it is none or a control character (C1).
std::size_t sequence_length(std::string_view text) {
  const auto byte = [&text](std::size_t index) {
    return index < text.size() ? static_cast<unsigned char>(text[index]) : 0U;
  };
  const auto follows = [&byte](std::size_t index, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(index) >= low && byte(index) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return (first >= 0x20 && first != 0x7f) || first == '\t' || first == '\n' || first == '\r' ? 1 : 0;
  if (first >= 0xc2 && first <= 0xdf) return follows(1, first == 0xc2 ? 0xa0 : 0x80) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef)
    return follows(1, first == 0xe0 ? 0xa0 : 0x80, first == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  if (first >= 0xf0 && first <= 0xf4)
    return follows(1, first == 0xf0 ? 0x90 : 0x80, first == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  return 0;
}

std::optional<YamlError> unreadable_byte(std::string_view text) {
  int line = 1;
  while (!text.empty()) {
    const std::size_t length = sequence_length(text);
    if (length == 0) {
      const auto byte = static_cast<unsigned char>(text[0]);
      return YamlError{0, line, byte < 0x80 || byte == 0xc2 ? "holds a control character" : "is not UTF-8",
                       "UTF-8 text without control characters"};
    }
    if (text[0] == '\n') ++line;
    text.remove_prefix(length);
  }
  return std::nullopt;
}

bool is_number(std::string_view text, bool& integer) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  integer = !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
  if (integer) return true;
  static constexpr std::array<std::string_view, 6> kWords = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN"};
  if (std::find(kWords.begin(), kWords.end(), text) != kWords.end()) return true;
  if (text.starts_with("0x"))
    return text.size() > 2 && text.find_first_not_of("0123456789abcdefABCDEF", 2) == text.npos;
  if (text.starts_with("0o")) return text.size() > 2 && text.find_first_not_of("01234567", 2) == text.npos;
  const std::size_t exponent = text.find_first_of("eE");
  std::string_view mantissa = text.substr(0, exponent);
  if (exponent != text.npos) {
    std::string_view power = text.substr(exponent + 1);
    if (power.starts_with('-') || power.starts_with('+')) power.remove_prefix(1);
    if (power.empty() || power.find_first_not_of("0123456789") != power.npos) return false;
  }
  if (mantissa.find_first_not_of("0123456789.") != mantissa.npos) return false;
  return mantissa.find_first_of("0123456789") != mantissa.npos &&
         std::count(mantissa.begin(), mantissa.end(), '.') <= 1;
}

bool is_boolean(std::string_view text) {
  static constexpr std::array<std::string_view, 18> kWords = {"true", "True", "TRUE", "false", "False", "FALSE",
                                                              "yes",  "Yes",  "YES",  "no",    "No",    "NO",
                                                              "on",   "On",   "ON",   "off",   "Off",   "OFF"};
  return std::find(kWords.begin(), kWords.end(), text) != kWords.end();
}

}  // namespace

const YamlNode* YamlNode::find(std::string_view key) const {
  for (std::size_t index = 0; index < keys.size(); ++index)
    if (keys[index].text == key) return &items[index];
  return nullptr;
}

ScalarMeaning scalar_meaning(const YamlNode& scalar) {
  if (scalar.quoted) return ScalarMeaning::Text;
  bool integer = false;
  if (is_number(scalar.text, integer)) return integer ? ScalarMeaning::Integer : ScalarMeaning::Number;
  return is_boolean(scalar.text) ? ScalarMeaning::Boolean : ScalarMeaning::Text;
}

std::optional<YamlError> read_yaml(std::string_view text, const YamlLimits& limits,
                                   const std::function<void(int document, YamlNode&& root)>& take) {
  if (text.size() > limits.bytes)
    return YamlError{0, 0, "has " + std::to_string(text.size()) + " bytes",
                     "at most " + std::to_string(limits.bytes) + " bytes"};
  if (auto error = unreadable_byte(text)) return error;
  TreeBuilder builder(limits, text);
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) {
      YamlNode root = builder.take_root();
      if (root.type != YamlNode::Type::Null) take(builder.document(), std::move(root));
    }
  } catch (const Refused& refused) {
    return YamlError{builder.document(), refused.line, refused.message, refused.accepted};
  } catch (const YAML::Exception& error) {
    return syntax_error(text, builder.document(), error);
  } catch (const std::exception& error) {
    return YamlError{builder.document(), 0, std::string("cannot be read: ") + error.what(), "YAML or JSON"};
  }
  return std::nullopt;
}

}  // namespace grantd
