#include "crd-sync/whole_number.h"

#include "crd-sync/quantity.h"

namespace grantd {

bool leads_with_zero(std::string_view number) {
  if (number.starts_with('-') || number.starts_with('+')) number.remove_prefix(1);
  return number.size() > 1 && number[0] == '0' && number[1] >= '0' && number[1] <= '9';
}

std::optional<std::uint64_t> whole_number(const YamlNode& scalar) {
  const ScalarMeaning meaning = scalar_meaning(scalar);
  if (meaning != ScalarMeaning::Integer && meaning != ScalarMeaning::Number) return std::nullopt;
  if (leads_with_zero(scalar.text)) return std::nullopt;
  const auto value = parse_quantity(scalar.text);
  if (!value || value.value().nano != 0) return std::nullopt;
  return value.value().whole;
}

}  // namespace grantd
