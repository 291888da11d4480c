#include "crd-sync/api/object_sink.h"

#include "crd-sync/api/json.h"

namespace grantd {

std::optional<ObjectMeta> object_meta(const nlohmann::json& object) {
  const nlohmann::json* metadata = json_member(object, "metadata");
  if (metadata == nullptr) return std::nullopt;
  ObjectMeta meta{{json_text(*metadata, "namespace"), json_text(*metadata, "name")},
                  json_text(*metadata, "uid"),
                  json_text(*metadata, "resourceVersion")};
  const auto sound = [](const std::string& text, std::size_t limit) { return !text.empty() && text.size() <= limit; };
  if (!sound(meta.key.name, 253) || meta.key.namespace_name.size() > 63 || !sound(meta.uid, 128) ||
      !sound(meta.version, kMostVersionBytes))
    return std::nullopt;
  return meta;
}

}  // namespace grantd
