// Of a cluster: which pods are guests, by what the API server says of namespaces and pods, as the agent follows it.
#pragma once

#include "agent/handover/run_settings.h"
#include "crd-sync/resources.h"
#include "maps/result.h"

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace grantd {

struct PodsSaid {
  std::vector<Workload> here;       // on the settings' node
  std::vector<Workload> elsewhere;  // of namespaces that may share a Grant with one of those
  std::vector<std::string> unread;  // of guests' namespaces: which, and why
};

// `text`: of `kubectl get namespaces,pods --all-namespaces --output json`. `guests`: pods that are some in any
// namespace, by their uids as the node has them. Fails where it is no such list.
Result<PodsSaid> read_pods_said(std::string_view text, const ClusterSettings& settings,
                                const std::set<std::string>& guests);

}  // namespace grantd
