#include "crd-sync/api/api_object.h"

#include "crd-sync/read_object.h"

#include <string>
#include <utility>

namespace grantd {
namespace {

using Json = nlohmann::json;

YamlNode scalar(std::string text, bool quoted) {
  YamlNode node;
  node.type = YamlNode::Type::Scalar;
  node.quoted = quoted;
  node.text = std::move(text);
  return node;
}

// Who it is and what it wants.
Json essence(const Json& object) {
  Json result = Json::object();
  for (const auto& [key, value] : object.items()) {
    if (key == "status") continue;
    if (key != "metadata" || !value.is_object()) {
      result[key] = value;
      continue;
    }
    Json& metadata = result[key] = Json::object();
    for (const char* name : {"name", "namespace", "uid", "generation"})
      if (const auto found = value.find(name); found != value.end()) metadata[name] = *found;
  }
  return result;
}

}  // namespace

YamlNode tree_of(const Json& value) {
  YamlNode node;
  switch (value.type()) {
    case Json::value_t::object:
      node.type = YamlNode::Type::Map;
      for (const auto& [key, item] : value.items()) {
        node.keys.push_back({key, 0});
        node.items.push_back(tree_of(item));
      }
      return node;
    case Json::value_t::array:
      node.type = YamlNode::Type::Sequence;
      for (const Json& item : value) node.items.push_back(tree_of(item));
      return node;
    case Json::value_t::string:
      return scalar(value.get_ref<const std::string&>(), true);
    case Json::value_t::boolean:
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
    case Json::value_t::number_float:
      return scalar(value.dump(), false);
    default:
      return node;  // null
  }
}

ReadResult read_api_object(const Json& object) {
  ReadResult read = read_tree(kApiPath, tree_of(object.is_object() ? essence(object) : object));
  // The server says of each object that it is there and that it is gone, by its own key: one whose name is refused here
  // hides no other, so none that is gone is taken for one that may still be there.
  read.all_known = true;
  return read;
}

ApiObjects::Projection keep_api_object() {
  return [](const Json& object) -> Result<std::optional<ReadResult>> {
    return std::optional<ReadResult>(read_api_object(object));
  };
}

ReflectorSettings keystone_reflector(ResourceKind kind) {
  ReflectorSettings settings;
  settings.api_version = "keystone.io/v1alpha1";
  settings.kind = kind == ResourceKind::Realm ? "Realm" : "Grant";
  settings.path = "/apis/keystone.io/v1alpha1/";
  settings.path += kind == ResourceKind::Realm ? "realms" : "namespaces/" + std::string(kDefaultNamespace) + "/grants";
  return settings;
}

}  // namespace grantd
