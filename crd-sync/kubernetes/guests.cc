#include "crd-sync/kubernetes/guests.h"

#include "crd-sync/api/api_object.h"
#include "crd-sync/kubernetes/guest_pattern.h"
#include "crd-sync/names.h"
#include "crd-sync/problem.h"

#include <algorithm>
#include <map>

namespace grantd {
namespace {

const Labels kNoLabels;
const SharedText kFile(kApiPath);

std::optional<std::string> label(const Labels& labels, const char* key) {
  const auto found = labels.find(key);
  return found ? std::optional(std::string(*found)) : std::nullopt;
}

// Whose guests a namespace holds, or why that cannot be told.
struct Owner {
  std::string realm, doubt;
};

Owner owner_of(const std::string& name, const std::optional<std::string>& by_name,
               const std::optional<std::string>& by_label) {
  if (!by_label) return {by_name.value_or(""), ""};
  if (by_name && *by_label != *by_name)
    return {"", "the name of namespace " + name + " says realm " + *by_name + " and its label " +
                    escape_text(*by_label, 63) + "; accepted: the same in both"};
  if (!is_dns_subdomain(*by_label))
    return {"", "label " + std::string(kRealmLabel) + " of namespace " + name + " is no Realm's name"};
  return {*by_label, ""};
}

// Of a static pod the API server has another one.
const std::string& node_uid(const std::string& uid, const Pod& pod) {
  return pod.mirrored.empty() ? uid : pod.mirrored;
}

Workload guest(const ObjectKey& key, const std::string& uid, const Pod& pod, const Owner& owner,
               const Labels& namespace_labels) {
  Workload workload;
  workload.name = key.namespace_name + "/" + key.name;
  workload.addresses = pod.addresses;
  workload.quarantine = owner.doubt;
  if (!owner.doubt.empty()) {
    workload.cause = Cause::RealmUnclear;
  } else if (!pod.doubt.empty()) {
    workload.quarantine = pod.doubt;
    workload.cause = Cause::LabelsUnclear;
  }
  workload.position.file = kFile;
  GuestPod& facts = workload.pod.emplace();
  facts.uid = uid;
  facts.node_uid = node_uid(uid, pod);
  facts.realm = owner.realm;
  facts.namespace_grant = label(namespace_labels, kGrantLabel).value_or("");
  facts.own_grant = label(pod.labels, kGrantLabel).value_or("");
  facts.labels = pod.labels;
  facts.namespace_labels = namespace_labels;
  facts.host_network = pod.host_network;
  facts.qos = pod.qos;
  return workload;
}

}  // namespace

std::vector<Workload> guests_of(const Namespaces::Objects& namespaces, const Pods::Objects& pods,
                                const std::string& pattern, const std::set<std::string>& before) {
  std::vector<Workload> guests;
  for (const auto& [key, entry] : pods) {
    const auto found = namespaces.find({"", key.namespace_name});
    const auto by_name = realm_of_namespace(pattern, key.namespace_name);
    const Labels& labels = found == namespaces.end() ? kNoLabels : found->second.object->labels;
    const auto by_label = label(labels, kRealmLabel);
    const bool is_guests = by_name || by_label;
    if (!is_guests && !before.contains(node_uid(entry.uid, *entry.object))) continue;
    Owner owner = owner_of(key.namespace_name, by_name, by_label);
    // One that matches by name is a guests' namespace also where it is not known yet, or not any more; what its labels
    // say is then not known, which is no word that they say nothing.
    if (found == namespaces.end())
      owner = {"", "namespace " + key.namespace_name + " is not known"};
    else if (!is_guests)
      owner = {"", "namespace " + key.namespace_name + " has lost its label " + kRealmLabel +
                       "; accepted: the label, or another pod, which is no guest"};
    else if (owner.doubt.empty() && label(labels, kGrantLabel) == "")
      owner = {"", "label " + std::string(kGrantLabel) + " of namespace " + key.namespace_name +
                       " is empty; accepted: the name of a Grant, or no label"};
    guests.push_back(guest(key, entry.uid, *entry.object, owner, labels));
  }
  std::sort(guests.begin(), guests.end(), [](const Workload& a, const Workload& b) { return a.name < b.name; });
  return guests;
}

std::set<std::string> sharing_namespaces(const Namespaces::Objects& namespaces, const std::vector<Workload>& guests,
                                         const std::string& pattern) {
  // Realm -> the Grants that namespaces of guests here name; "": any.
  std::map<std::string, std::set<std::string>> here;
  for (const Workload& each : guests)
    if (each.quarantine.empty()) here[each.pod->realm].insert(each.pod->namespace_grant);
  std::set<std::string> sharing;
  for (const auto& [key, entry] : namespaces) {
    const Labels& labels = entry.object->labels;
    const auto by_name = realm_of_namespace(pattern, key.name), by_label = label(labels, kRealmLabel);
    if (!by_name && !by_label) continue;
    const auto found = here.find(owner_of(key.name, by_name, by_label).realm);
    if (found == here.end()) continue;
    const std::string grant = label(labels, kGrantLabel).value_or("");
    if (grant.empty() || found->second.contains("") || found->second.contains(grant)) sharing.insert(key.name);
  }
  return sharing;
}

std::set<std::string> labelled_namespaces(const Namespaces::Objects& namespaces) {
  std::set<std::string> labelled;
  for (const auto& [key, entry] : namespaces)
    if (entry.object->labels.contains(kRealmLabel)) labelled.insert(key.name);
  return labelled;
}

void sort_namespaces(const Namespaces::Objects& namespaces, const std::string& pattern, DesiredState& desired) {
  desired.labelled_namespaces = labelled_namespaces(namespaces);
  for (const auto& [key, entry] : namespaces)
    if (!desired.labelled_namespaces.contains(key.name) && !realm_of_namespace(pattern, key.name) &&
        !entry.object->ending)
      desired.ordinary_namespaces.insert(key.name);
  for (const Workload& each : desired.workloads) {
    const std::string name = each.name.substr(0, each.name.find('/'));
    if (!desired.labelled_namespaces.contains(name) && !realm_of_namespace(pattern, name))
      desired.former_guests.emplace(each.pod->node_uid, each.name);
  }
}

}  // namespace grantd
