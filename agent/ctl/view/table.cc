#include "agent/ctl/view/table.h"

#include "crd-sync/problem.h"

#include <algorithm>

namespace grantd {
namespace {

constexpr std::size_t kCellBytes = 512;

const char* sequence(Colour colour) {
  switch (colour) {
    case Colour::Good:
      return "\033[32m";
    case Colour::Warning:
      return "\033[33m";
    case Colour::Bad:
      return "\033[31m";
    case Colour::Faint:
      return "\033[2m";
    case Colour::Plain:
      break;
  }
  return "";
}

std::string painted(const std::string& text, Colour shade, bool colour) {
  if (!colour || shade == Colour::Plain) return text;
  return sequence(shade) + text + "\033[0m";
}

// The last column is not padded, so that no line ends in blanks.
void append(std::string& line, const std::string& text, Colour shade, std::size_t width, bool right, bool last,
            bool colour) {
  const std::string padding(width > text.size() ? width - text.size() : 0, ' ');
  if (right) line += padding;
  line += painted(text, shade, colour);
  if (!last) line += (right ? "" : padding) + "  ";
}

}  // namespace

std::string render(const Table& table, bool colour) {
  if (table.rows.empty() && !table.when_empty.empty()) return table.when_empty + "\n";
  std::vector<std::vector<std::string>> texts;
  std::vector<std::size_t> widths;
  for (const Column& column : table.columns) widths.push_back(column.title.size());
  for (const auto& row : table.rows) {
    auto& line = texts.emplace_back();
    for (std::size_t index = 0; index < row.size() && index < widths.size(); index++) {
      line.push_back(escape_text(row[index].text, kCellBytes));
      widths[index] = std::max(widths[index], line.back().size());
    }
  }
  const std::size_t columns = table.columns.size();
  std::string result;
  for (std::size_t index = 0; index < columns; index++)
    append(result, table.columns[index].title, Colour::Faint, widths[index], table.columns[index].right,
           index + 1 == columns, colour);
  result += "\n";
  for (std::size_t row = 0; row < texts.size(); row++) {
    for (std::size_t index = 0; index < texts[row].size(); index++)
      append(result, texts[row][index], table.rows[row][index].colour, widths[index], table.columns[index].right,
             index + 1 == columns, colour);
    result += "\n";
  }
  return result;
}

std::string render_facts(const std::vector<std::pair<std::string, Cell>>& facts, bool colour) {
  std::size_t width = 0;
  for (const auto& [name, value] : facts) width = std::max(width, name.size());
  std::string result;
  for (const auto& [name, value] : facts) {
    append(result, name, Colour::Faint, width, false, false, colour);
    result += painted(escape_text(value.text, kCellBytes), value.colour, colour) + "\n";
  }
  return result;
}

}  // namespace grantd
