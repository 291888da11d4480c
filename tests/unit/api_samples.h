// Objects and events as an API server sends them.
#pragma once

#include "crd-sync/api/json.h"
#include "crd-sync/api/object_store.h"
#include "crd-sync/api/reflector.h"

#include <string>
#include <string_view>
#include <vector>

namespace grantd {

inline nlohmann::json api_pod(const std::string& name, const std::string& version, const std::string& value = "x",
                              const std::string& uid = "") {
  return {{"apiVersion", "v1"},
          {"kind", "Pod"},
          {"metadata",
           {{"namespace", "guest-bob"},
            {"name", name},
            {"uid", uid.empty() ? "uid-" + name : uid},
            {"resourceVersion", version},
            {"managedFields", {{{"manager", "kubelet"}}}}}},
          {"spec", {{"value", value}}}};
}

inline std::string api_event(std::string_view type, const nlohmann::json& object) {
  return nlohmann::json{{"type", type}, {"object", object}}.dump() + "\n";
}

inline std::string api_bookmark(const std::string& version, bool initial_end = false) {
  nlohmann::json object = {{"kind", "Pod"}, {"apiVersion", "v1"}, {"metadata", {{"resourceVersion", version}}}};
  if (initial_end) object["metadata"]["annotations"]["k8s.io/initial-events-end"] = "true";
  return api_event("BOOKMARK", object);
}

inline std::string api_status(int code, const std::string& message) {
  return nlohmann::json{{"kind", "Status"}, {"apiVersion", "v1"}, {"code", code}, {"message", message}}.dump();
}

inline std::string api_page(const std::vector<nlohmann::json>& items, const std::string& version,
                            const std::string& next = "") {
  nlohmann::json page = {{"kind", "PodList"}, {"apiVersion", "v1"}, {"items", items}};
  page["metadata"]["resourceVersion"] = version;
  if (!next.empty()) page["metadata"]["continue"] = next;
  return page.dump();
}

// Keeps spec.value; "none" is none of ours, a number cannot be read.
using PodStore = ObjectStore<std::string>;
inline Result<std::optional<std::string>> project_pod(const nlohmann::json& object) {
  const auto& value = object.at("spec").at("value").get_ref<const std::string&>();
  if (value == "none") return std::optional<std::string>();
  return std::optional<std::string>(value);
}

inline ReflectorSettings pod_settings() {
  ReflectorSettings settings;
  settings.api_version = "v1";
  settings.kind = "Pod";
  settings.path = "/api/v1/pods";
  settings.field_selector = "spec.nodeName=node-a,status.phase!=Failed";
  settings.max_document = 4000;
  settings.max_page = 8000;
  return settings;
}

// "name=value name=value" of what is known.
inline std::string known(const PodStore& store) {
  std::string text;
  for (const auto& [key, entry] : store.objects()) text += (text.empty() ? "" : " ") + key.name + "=" + *entry.object;
  return text;
}

}  // namespace grantd
