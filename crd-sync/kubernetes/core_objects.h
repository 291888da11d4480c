// Namespaces and pods: of each what says whether it is a guest and which one, and nothing else.
#pragma once

#include "crd-sync/api/object_store.h"
#include "crd-sync/api/reflector.h"
#include "crd-sync/resources.h"

#include <string>
#include <vector>

namespace grantd {

// A Grant's name and a realm, as labels say them; a label that is there and empty names nothing.
inline constexpr const char* kRealmLabel = "keystone.io/realm";
inline constexpr const char* kGrantLabel = "keystone.io/grant";

struct NamespaceFacts {
  Labels labels;        // of a guests' namespace; of all others none
  bool ending = false;  // it is being deleted; another one may come under its name
  bool operator==(const NamespaceFacts&) const = default;
};

struct Pod {
  Labels labels;                     // none where there is a doubt
  std::string doubt = {};            // why what it says of itself is not wholly known
  std::string mirrored;              // of a static pod's mirror: the uid of the pod that the kubelet runs; "" of others
  std::vector<IpAddress> addresses;  // status.podIPs; empty on the host network
  bool host_network = false;
  GuestPod::Qos qos = GuestPod::Qos::BestEffort;
  bool operator==(const Pod&) const = default;
};

std::size_t kept_bytes(const nlohmann::json& object, const NamespaceFacts& kept);
std::size_t kept_bytes(const nlohmann::json& object, const Pod& kept);

// Keyed by name alone, and by namespace and name; both with the uid.
using Namespaces = ObjectStore<NamespaceFacts>;
using Pods = ObjectStore<Pod>;

// All namespaces; the labels of those that `pattern` matches or that carry the realm's label.
Namespaces::Projection keep_namespace(std::string pattern);
// All pods but those that have ended (Succeeded, Failed): nothing of them runs any more.
Pods::Projection keep_pod();

ReflectorSettings namespace_reflector();
ReflectorSettings pod_reflector(const std::string& node);                                           // of one node
ReflectorSettings elsewhere_reflector(const std::string& namespace_name, const std::string& node);  // of all others

}  // namespace grantd
