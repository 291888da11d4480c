#include "crd-sync/canonical.h"

#include "crd-sync/whole_number.h"

#include <algorithm>
#include <vector>

namespace grantd {
namespace {

constexpr char kDigits[] = "0123456789abcdef";

class TextWriter {
 public:
  explicit TextWriter(int line) : line_(line) {}

  void write(const YamlNode& node) {
    move_to(node.line);
    switch (node.type) {
      case YamlNode::Type::Null:
        text_ += "null";
        break;
      case YamlNode::Type::Scalar:
        write_scalar(node);
        break;
      case YamlNode::Type::Sequence:
        write_items(node, '[', ']');
        break;
      case YamlNode::Type::Map:
        write_items(node, '{', '}');
        break;
    }
  }
  std::string take() { return std::move(text_); }

 private:
  // What an alias brought in may stand on an earlier line; it keeps the line that it is met on.
  void move_to(int line) {
    for (; line_ < line; ++line_) text_ += '\n';
  }

  void write_scalar(const YamlNode& node) {
    text_ += scalar_meaning(node) == ScalarMeaning::Text ? quoted_text(node.text) : node.text;
  }

  void write_items(const YamlNode& node, char begin, char end) {
    text_ += begin;
    for (std::size_t index = 0; index < node.items.size(); ++index) {
      if (index > 0) text_ += ", ";
      if (node.type == YamlNode::Type::Map) {
        move_to(node.keys[index].line);
        text_ += quoted_text(node.keys[index].text) + ": ";
      }
      write(node.items[index]);
    }
    text_ += end;
  }

  std::string text_;
  int line_;
};

void write_canonical(const YamlNode& node, std::string& out) {
  if (node.type == YamlNode::Type::Null) out += "null";
  if (node.type == YamlNode::Type::Scalar) {
    const auto whole = whole_number(node);
    out += quoted_text(whole ? std::to_string(*whole) : node.text);
  }
  if (node.type != YamlNode::Type::Sequence && node.type != YamlNode::Type::Map) return;
  std::vector<std::size_t> order(node.items.size());
  for (std::size_t index = 0; index < order.size(); ++index) order[index] = index;
  const bool map = node.type == YamlNode::Type::Map;
  if (map)
    std::stable_sort(order.begin(), order.end(),
                     [&node](std::size_t a, std::size_t b) { return node.keys[a].text < node.keys[b].text; });
  out += map ? '{' : '[';
  for (const std::size_t index : order) {
    if (map) out += quoted_text(node.keys[index].text) + ":";
    write_canonical(node.items[index], out);
    out += ',';
  }
  out += map ? '}' : ']';
}

}  // namespace

std::string quoted_text(std::string_view text) {
  std::string out = "\"";
  const auto escape = [&out](unsigned char byte) {
    out += "\\u00";
    out += kDigits[byte >> 4];
    out += kDigits[byte & 0xf];
  };
  for (std::size_t index = 0; index < text.size(); ++index) {
    const auto byte = static_cast<unsigned char>(text[index]);
    const auto next = index + 1 < text.size() ? static_cast<unsigned char>(text[index + 1]) : 0U;
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[index];
    } else if (byte < 0x20 || byte == 0x7f) {
      escape(byte);
    } else if (byte == 0xc2 && next < 0xa0) {  // C1 control characters, which read_yaml refuses as they are
      escape(static_cast<unsigned char>(next));
      ++index;
    } else {
      out += text[index];
    }
  }
  return out + "\"";
}

std::string tree_text(const YamlNode& root) {
  TextWriter writer(root.line);
  writer.write(root);
  return writer.take();
}

std::uint64_t hash_text(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char character : text) {
    hash ^= static_cast<unsigned char>(character);
    hash *= 0x100000001b3ULL;
  }
  return hash;
}

std::string hash_digits(std::uint64_t hash) {
  std::string digits(16, '0');
  for (std::size_t index = digits.size(); index-- > 0; hash >>= 4) digits[index] = kDigits[hash & 0xf];
  return digits;
}

std::string spec_hash(const YamlNode& spec) {
  std::string canonical;
  write_canonical(spec, canonical);
  return hash_digits(hash_text(canonical));
}

}  // namespace grantd
