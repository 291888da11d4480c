#include "crd-sync/kubernetes/guest_pattern.h"

#include "crd-sync/names.h"

namespace grantd {

bool is_guest_pattern(std::string_view pattern) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos || pattern.size() == 1) return false;
  std::string name(pattern);
  name.replace(star, 1, "x");
  return is_dns_label(name);
}

std::optional<std::string> realm_of_namespace(std::string_view pattern, std::string_view name) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return std::nullopt;
  const std::string_view before = pattern.substr(0, star), after = pattern.substr(star + 1);
  if (name.size() <= before.size() + after.size() || !name.starts_with(before) || !name.ends_with(after))
    return std::nullopt;
  return std::string(name.substr(before.size(), name.size() - before.size() - after.size()));
}

}  // namespace grantd
