// Which Grant of a name what is in force belongs to. A source tells once that a Grant was made anew, but may be asked
// again before that is carried out; and once it is, what is in force is the new one's own.
#pragma once

#include "crd-sync/resources.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

class Predecessors {
 public:
  // Sets made_anew of Grants that a source has just handed over.
  void tell(std::vector<Grant>& grants);
  // What they ask for is in force, but for those of which something is due still. One that is refused and was made anew
  // has never been: what was there has ended.
  using IsSo = std::function<bool(const std::string& key)>;
  void carried_out(std::vector<Grant>& grants, const IsSo& is_refused, const IsSo& is_due);

 private:
  std::map<std::string, std::optional<std::string>> uids_;  // by key(); nothing: of another Grant than is known
};

}  // namespace grantd
