// Which pods are guests, and what the API server says of each. Pure.
#pragma once

#include "crd-sync/desired_state.h"
#include "crd-sync/kubernetes/core_objects.h"

#include <set>
#include <string>
#include <vector>

namespace grantd {

// Every pod in a namespace that `pattern` matches or that carries the realm's label, and those that were guests before,
// by their uids as the node has them, in quarantine: a guest's pod is one to its end. A pod's own labels make no guest
// and take none away: they only wish for a Grant. Sorted by name.
std::vector<Workload> guests_of(const Namespaces::Objects& namespaces, const Pods::Objects& pods,
                                const std::string& pattern, const std::set<std::string>& before = {});

// Namespaces whose pods may be under one Grant with one of `guests`: of the same realm, and not labelled with different
// Grants. Sorted.
std::set<std::string> sharing_namespaces(const Namespaces::Objects& namespaces, const std::vector<Workload>& guests,
                                         const std::string& pattern);

// That carry the label keystone.io/realm.
std::set<std::string> labelled_namespaces(const Namespaces::Objects& namespaces);

// Into labelled_namespaces, ordinary_namespaces, of which none is being deleted, and former_guests.
void sort_namespaces(const Namespaces::Objects& namespaces, const std::string& pattern, DesiredState& desired);

}  // namespace grantd
