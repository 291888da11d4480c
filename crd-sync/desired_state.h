// What the administrator wants, as both kinds of source hand it over: an immutable snapshot of
// objects that are valid each by itself and together, and of what was refused on the way.
#pragma once

#include "crd-sync/resources.h"

#include <map>
#include <set>
#include <string>
#include <vector>

namespace grantd {

struct DesiredState {
  std::vector<Realm> realms;        // sorted by name
  std::vector<Grant> grants;        // sorted by key()
  std::vector<Workload> workloads;  // sorted by name
  std::vector<Problem> problems;    // in order of file and line
  // Inside of Realms, and refused ones' that would have taken them out of these. As few as there can be: where two
  // halves are joined, the name of either stands there. Sorted by prefix.
  std::vector<RefusedPrefix> nobodys;
  // Kubernetes. Grants that govern no guest of this node are not its business.
  bool cluster = false;
  std::vector<Workload> elsewhere;  // guests on other nodes that may share a Grant with one of this node
  // Kubernetes: namespaces that carry the realm's label, and those that are no guests', by label or name.
  std::set<std::string> labelled_namespaces, ordinary_namespaces;
  // Kubernetes: of the node's uid of a pod, its name, where it was a guest and its namespace is no guests' any more.
  std::map<std::string, std::string> former_guests;
  // By key(), as they stand at the source, be they refused. Of those that no version of is in force too.
  std::map<std::string, ObjectHead> grant_heads;
};

}  // namespace grantd
