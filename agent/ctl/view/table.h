// Aligned text tables.
#pragma once

#include <string>
#include <vector>

namespace grantd {

enum class Colour { Plain, Good, Warning, Bad, Faint };

struct Cell {
  std::string text;
  Colour colour = Colour::Plain;
  Cell(std::string words, Colour shade = Colour::Plain) : text(std::move(words)), colour(shade) {}
  Cell(const char* words, Colour shade = Colour::Plain) : text(words), colour(shade) {}
};

struct Column {
  std::string title;
  bool right = false;  // numbers
};

struct Table {
  std::vector<Column> columns;
  std::vector<std::vector<Cell>> rows;
  std::string when_empty;  // one line instead of the table
};

// With a header line; control characters of cells are escaped, colours only where asked for.
std::string render(const Table& table, bool colour);

// Names and values, aligned, without a header.
std::string render_facts(const std::vector<std::pair<std::string, Cell>>& facts, bool colour);

}  // namespace grantd
