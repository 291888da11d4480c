// What does not wait until a cluster is known whole.
#pragma once

#include "agent/apply/applier.h"
#include "agent/settings/settings.h"
#include "crd-sync/kubernetes/kubernetes_source.h"

#include <optional>

namespace grantd {

// Tells grantd-cni which namespaces are guests': whatever starts in a new one is closed by the plugin, with no help
// from here. `desired`: null where not all is known yet; then only the labelled ones are told, once they are known.
// `vouches`: also which are ordinary. Returns what went wrong; it is to be tried again.
std::optional<Problem> hand_over_namespaces(const Settings& settings, const KubernetesSource& api,
                                            const DesiredState* desired, bool vouches);

// Closes Grants that were revoked or deleted, as soon as Grants are known. What could not be done is told, and is tried
// again with the next call.
void close_ended_grants(KubernetesSource& api, Applier& applier);

}  // namespace grantd
