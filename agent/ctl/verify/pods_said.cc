#include "agent/ctl/verify/pods_said.h"

#include "crd-sync/api/json.h"
#include "crd-sync/kubernetes/guests.h"
#include "crd-sync/kubernetes/pods_elsewhere.h"

#include <algorithm>
#include <iterator>

namespace grantd {

namespace {

constexpr const char* kAccepted = "accepted: what kubectl get namespaces,pods --all-namespaces --output json says";

// All kinds of one list.
struct Cluster {
  explicit Cluster(const ClusterSettings& settings)
      : node(settings.node), namespaces(keep_namespace(settings.guest_namespaces)), here(keep_pod()) {}

  Result<void> put(const nlohmann::json& object) {
    const std::string kind = json_text(object, "kind");
    const auto meta = object_meta(object);
    if (!meta || (kind != "Namespace" && kind != "Pod"))
      return Error{"holds an object of the kind '" + kind + "' that is no namespace or pod; " + kAccepted};
    const nlohmann::json* spec = json_member(object, "spec");
    const std::string runs_on = spec ? json_text(*spec, "nodeName") : "";
    auto kept = kind == "Namespace" ? namespaces.put(*meta, object)
                : runs_on == node   ? here.put(*meta, object)
                                    : put_elsewhere(*meta, object, runs_on);
    if (kept) return {};
    return Error{kind + " " + meta->key.namespace_name + (kind == "Pod" ? "/" : "") + meta->key.name + ": " +
                 kept.error().message};
  }

  const std::string node;
  Namespaces namespaces;
  Pods here;
  std::map<std::string, Pods> elsewhere;  // by namespace

 private:
  Result<void> put_elsewhere(const ObjectMeta& meta, const nlohmann::json& object, const std::string& runs_on) {
    if (runs_on.empty()) return {};
    return elsewhere.try_emplace(meta.key.namespace_name, keep_pod()).first->second.put(meta, object);
  }
};

}  // namespace

Result<PodsSaid> read_pods_said(std::string_view text, const ClusterSettings& settings,
                                const std::set<std::string>& guests) {
  const auto root = nlohmann::json::parse(text, nullptr, false);
  const nlohmann::json* items = json_member(root, "items");
  if (!items || !items->is_array()) return Error{std::string("is no list of objects; ") + kAccepted};
  Cluster cluster(settings);
  for (const nlohmann::json& object : *items)
    if (auto put = cluster.put(object); !put) return put.error();
  // There is none without: a list of pods alone would have no guest.
  if (cluster.namespaces.objects().empty()) return Error{std::string("holds no namespace; ") + kAccepted};
  const std::string& pattern = settings.guest_namespaces;
  PodsSaid said;
  said.here = guests_of(cluster.namespaces.objects(), cluster.here.objects(), pattern, guests);
  std::size_t followed = 0;
  for (const std::string& name : sharing_namespaces(cluster.namespaces.objects(), said.here, pattern)) {
    if (followed++ == PodsElsewhere::kMostNamespaces) break;
    const auto pods = cluster.elsewhere.find(name);
    if (pods == cluster.elsewhere.end()) continue;
    auto some = guests_of(cluster.namespaces.objects(), pods->second.objects(), pattern);
    std::move(some.begin(), some.end(), std::back_inserter(said.elsewhere));
  }
  return said;
}

}  // namespace grantd
