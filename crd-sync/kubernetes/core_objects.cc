#include "crd-sync/kubernetes/core_objects.h"

#include "crd-sync/api/json.h"
#include "crd-sync/kubernetes/guest_pattern.h"

#include <algorithm>

namespace grantd {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMostUidBytes = 63;  // of a UUID: 36
constexpr const char* kMirror = "kubernetes.io/config.mirror";

const Json& member(const Json& object, const char* name) {
  static const Json none;
  const Json* found = json_member(object, name);
  return found != nullptr ? *found : none;
}

// An Error where they cannot be read: what a label says must not be lost.
Result<Labels> labels_of(const Json& metadata) {
  const Json* found = json_member(metadata, "labels");
  if (found == nullptr || found->is_null()) return Labels();
  if (!found->is_object()) return Error{"metadata.labels: is no map"};
  std::vector<Labels::Label> labels;  // of the object's own texts
  for (auto each = found->begin(); each != found->end(); ++each) {
    if (!each->is_string()) return Error{"metadata.labels: a value is no text"};
    labels.emplace_back(each.key(), each->get_ref<const std::string&>());
  }
  return Labels(labels);
}

// It names a cgroup, and a record that grantctl shows.
bool is_uid(const std::string& uid) {
  return !uid.empty() && uid.size() <= kMostUidBytes && std::all_of(uid.begin(), uid.end(), [](char letter) {
    return (letter >= '0' && letter <= '9') || (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
           letter == '-';
  });
}

Result<std::vector<IpAddress>> addresses_of(const Json& status) {
  std::vector<IpAddress> all;
  const Json& list = member(status, "podIPs");
  if (list.is_null()) return all;
  if (!list.is_array()) return Error{"status.podIPs: is no list"};
  for (const Json& each : list) {
    const auto address = IpAddress::parse(json_text(each, "ip"));
    if (!address) return Error{"status.podIPs: " + address.error().message};
    if (std::find(all.begin(), all.end(), address.value()) == all.end()) all.push_back(address.value());
  }
  return all;
}

// All that keep_pod() reads.
KeptMembers kept_of_pod() {
  KeptMembers kept;
  kept.keep({"metadata", "labels"});
  kept.keep({"metadata", "annotations", kMirror});
  kept.keep({"spec", "hostNetwork"});
  for (const char* name : {"phase", "podIPs", "qosClass"}) kept.keep({"status", name});
  return kept;
}

// "" until the API server has told it.
Result<GuestPod::Qos> qos_of(const std::string& text) {
  if (text == "Guaranteed") return GuestPod::Qos::Guaranteed;
  if (text == "Burstable") return GuestPod::Qos::Burstable;
  if (text == "BestEffort" || text.empty()) return GuestPod::Qos::BestEffort;
  return Error{"status.qosClass: is none"};
}

// What is of another type would count as what is not there.
bool is_text_or_absent(const Json& object, const char* name) {
  const Json& found = member(object, name);
  return found.is_null() || found.is_string();
}

}  // namespace

std::size_t kept_bytes(const Json&, const NamespaceFacts& kept) { return kept.labels.bytes(); }

std::size_t kept_bytes(const Json&, const Pod& kept) {
  return kept.labels.bytes() + kept.doubt.size() + kept.mirrored.size() + kept.addresses.size() * sizeof(IpAddress);
}

Namespaces::Projection keep_namespace(std::string pattern) {
  return [pattern = std::move(pattern)](const Json& object) -> Result<std::optional<NamespaceFacts>> {
    const Json& metadata = member(object, "metadata");
    auto labels = labels_of(metadata);
    if (!labels) return labels.error();
    const bool guests =
        labels.value().contains(kRealmLabel) || realm_of_namespace(pattern, json_text(metadata, "name"));
    return std::optional(NamespaceFacts{guests ? std::move(labels).value() : Labels(),
                                        !json_text(metadata, "deletionTimestamp").empty()});
  };
}

Pods::Projection keep_pod() {
  return [](const Json& object) -> Result<std::optional<Pod>> {
    const Json &metadata = member(object, "metadata"), &status = member(object, "status");
    if (!is_uid(json_text(metadata, "uid"))) return Error{"metadata.uid: is no uid"};
    for (const char* name : {"phase", "qosClass"})
      if (!is_text_or_absent(status, name)) return Error{std::string("status.") + name + ": is no text"};
    const std::string phase = json_text(status, "phase");
    if (phase == "Succeeded" || phase == "Failed") return std::optional<Pod>();
    Pod pod;
    if (is_left_out(member(metadata, "labels"))) {
      const JsonFilterLimits most;
      pod.doubt = "its labels are more than " + std::to_string(most.values) + ", or longer than " +
                  std::to_string(most.value_bytes >> 10) + " KiB; what a Grant chooses by them cannot be told";
    } else {
      auto labels = labels_of(metadata);
      if (!labels) return labels.error();
      pod.labels = std::move(labels).value();
    }
    // No other pod that carries it is run by a kubelet, so a guest gains nothing by writing it.
    const Json& annotations = member(metadata, "annotations");
    pod.mirrored = json_text(annotations, kMirror);
    if ((!pod.mirrored.empty() && !is_uid(pod.mirrored)) || is_left_out(member(annotations, kMirror)))
      return Error{"kubernetes.io/config.mirror: is no uid"};
    const Json& host_network = member(member(object, "spec"), "hostNetwork");
    if (!host_network.is_null() && !host_network.is_boolean()) return Error{"spec.hostNetwork: is no boolean"};
    pod.host_network = host_network.is_boolean() && host_network.get<bool>();
    auto addresses = addresses_of(status);
    if (!addresses) return addresses.error();
    if (!pod.host_network) pod.addresses = std::move(addresses).value();
    const auto qos = qos_of(json_text(status, "qosClass"));
    if (!qos) return qos.error();
    pod.qos = qos.value();
    return std::optional(std::move(pod));
  };
}

ReflectorSettings namespace_reflector() {
  ReflectorSettings settings;
  settings.api_version = "v1";
  settings.kind = "Namespace";
  settings.path = "/api/v1/namespaces";
  return settings;
}

ReflectorSettings pod_reflector(const std::string& node) {
  ReflectorSettings settings;
  settings.api_version = "v1";
  settings.kind = "Pod";
  settings.path = "/api/v1/pods";
  settings.field_selector = "spec.nodeName=" + node;
  settings.kept = kept_of_pod();
  return settings;
}

ReflectorSettings elsewhere_reflector(const std::string& namespace_name, const std::string& node) {
  ReflectorSettings settings = pod_reflector(node);
  settings.path = "/api/v1/namespaces/" + percent_encoded(namespace_name) + "/pods";
  settings.field_selector = "spec.nodeName!=" + node;
  return settings;
}

}  // namespace grantd
