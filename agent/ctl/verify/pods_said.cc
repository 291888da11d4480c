#include "agent/ctl/verify/pods_said.h"

#include "crd-sync/api/json.h"
#include "crd-sync/api/json_filter.h"
#include "crd-sync/kubernetes/guest_pattern.h"
#include "crd-sync/kubernetes/guests.h"
#include "crd-sync/kubernetes/pods_elsewhere.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <memory>

namespace grantd {

namespace {

constexpr const char* kAccepted = "accepted: what kubectl get namespaces,pods --all-namespaces --output json says";
constexpr std::size_t kMostValues = 50'000'000;  // of what is kept

// What the agent reads of an object, within its bounds.
std::shared_ptr<const KeptMembers> kept_of_list(const std::string& node) {
  KeptMembers object = pod_reflector(node).kept.value_or(KeptMembers());
  object.keep({"kind"});
  for (const char* name : {"namespace", "name", "uid", "resourceVersion", "deletionTimestamp"})
    object.keep({"metadata", name});
  object.keep({"spec", "nodeName"});
  auto list = std::make_shared<KeptMembers>();
  list->members["items"].each = {std::move(object)};
  return list;
}

Result<nlohmann::json> read_list(std::string_view text, const std::string& node) {
  JsonFilter filter(kept_of_list(node));
  if (filter.push(text) && filter.finish())
    if (auto root = parse_json(filter.text(), {.values = kMostValues})) {
      const nlohmann::json* items = json_member(*root, "items");
      if (items && items->is_array()) return nlohmann::json(*items);
    }
  return Error{std::string("is no list of objects; ") + kAccepted};
}

// All kinds of one list.
class Cluster {
 public:
  explicit Cluster(const ClusterSettings& settings)
      : settings_(settings), namespaces_(keep_namespace(settings.guest_namespaces)), here_(keep_pod()) {}

  Result<void> read(const nlohmann::json& objects) {
    // Which namespaces are guests' is known before any pod.
    for (const char* kind : {"Namespace", "Pod"})
      for (const nlohmann::json& object : objects) {
        const auto meta = object_meta(object);
        const std::string its = json_text(object, "kind");
        if (!meta || (its != "Namespace" && its != "Pod"))
          return Error{"holds an object of the kind '" + its + "' that is no namespace or pod; " + kAccepted};
        if (its == kind) put(*meta, its, object);
      }
    // A list of pods alone would have no guest.
    if (namespaces_.objects().empty()) return Error{std::string("holds no namespace; ") + kAccepted};
    return {};
  }

  PodsSaid said(const std::set<std::string>& guests) {
    const std::string& pattern = settings_.guest_namespaces;
    PodsSaid said;
    said.unread = std::move(unread_);
    said.here = guests_of(namespaces_.objects(), here_.objects(), pattern, guests);
    std::size_t followed = 0;
    for (const std::string& name : sharing_namespaces(namespaces_.objects(), said.here, pattern)) {
      if (followed++ == PodsElsewhere::kMostNamespaces) break;
      const auto pods = elsewhere_.find(name);
      if (pods == elsewhere_.end()) continue;
      auto some = guests_of(namespaces_.objects(), pods->second.objects(), pattern);
      std::move(some.begin(), some.end(), std::back_inserter(said.elsewhere));
    }
    return said;
  }

 private:
  void put(const ObjectMeta& meta, const std::string& kind, const nlohmann::json& object) {
    if (kind == "Namespace") {
      note(namespaces_.put(meta, object), "Namespace " + meta.key.name);
      return;
    }
    const nlohmann::json* spec = json_member(object, "spec");
    const std::string node = spec ? json_text(*spec, "nodeName") : "", &space = meta.key.namespace_name;
    const std::string whose = "Pod " + space + "/" + meta.key.name;
    if (node == settings_.node) {
      if (auto kept = here_.put(meta, object); !kept && is_guests(space)) note(kept, whose);
    } else if (!node.empty() && is_guests(space)) {
      note(elsewhere_.try_emplace(space, keep_pod()).first->second.put(meta, object), whose);
    }
  }

  bool is_guests(const std::string& space) const {
    const auto found = namespaces_.objects().find({"", space});
    return realm_of_namespace(settings_.guest_namespaces, space) ||
           (found != namespaces_.objects().end() && found->second.object->labels.contains(kRealmLabel));
  }

  void note(const Result<void>& kept, const std::string& object) {
    if (!kept) unread_.push_back(object + ": cannot be read: " + kept.error().message);
  }

  const ClusterSettings& settings_;
  Namespaces namespaces_;
  Pods here_;
  std::map<std::string, Pods> elsewhere_;  // of guests' namespaces, by these
  std::vector<std::string> unread_;
};

}  // namespace

Result<PodsSaid> read_pods_said(std::string_view text, const ClusterSettings& settings,
                                const std::set<std::string>& guests) {
  auto objects = read_list(text, settings.node);
  if (!objects) return objects.error();
  Cluster cluster(settings);
  if (auto read = cluster.read(objects.value()); !read) return read.error();
  return cluster.said(guests);
}

}  // namespace grantd
