#include "agent/ctl/view/views.h"

namespace grantd {

bool Filter::accepts_grant(const std::string& name) const {
  if (grant.empty() || grant == name) return true;
  const std::size_t slash = name.rfind('/');
  return slash != std::string::npos && name.compare(slash + 1, std::string::npos, grant) == 0;
}

}  // namespace grantd
