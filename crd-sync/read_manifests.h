// The text of one manifest file: every document of it, Lists too, as validated objects.
#pragma once

#include "crd-sync/refused_version.h"
#include "crd-sync/resources.h"
#include "crd-sync/yaml_tree.h"

#include <compare>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace grantd {

enum class ResourceKind : std::uint8_t { Realm, Grant, Workload };

std::optional<ResourceKind> resource_kind(std::string_view name);  // "Grant"

struct ObjectId {
  ResourceKind kind = ResourceKind::Realm;
  std::string key;           // Realm, Workload: name; Grant: NAMESPACE/NAME
  std::string text() const;  // "Grant keystone-system/bob", as Problem::object
  auto operator<=>(const ObjectId&) const = default;
};

// One object that is good by itself.
struct ManifestObject {
  ObjectId id;
  std::variant<Realm, Grant, Workload> value;
  ObjectHead head;
  SharedText text;  // what its value was read from, in one form; lines relative to its first

  const SourcePosition& position() const;
};

struct ManifestFile {
  std::string path;
  std::string text;
  int first_document = 1;  // where `text` stands, if it is a part of the file
  int first_line = 1;
};

// Path of whatever came from the API server, in messages.
inline constexpr const char* kApiPath = "kubernetes";

struct ReadResult {
  std::string path;
  std::vector<ManifestObject> objects;  // in the order of the file
  std::vector<ObjectId> refused;        // objects with errors, as far as they could be told
  std::map<ObjectId, LegibleEnd> ends;  // of the Grants among them
  std::vector<Workload> closed;         // guests of Workloads with errors, also of those without a name
  // Of Realms with errors, also of those without a name; of a file that is not parsed, of all Realms that it held.
  std::vector<RefusedPrefix> apart;
  std::map<ObjectId, ObjectHead> heads;  // of both, where they say
  bool parsed = true;                    // false: not YAML, or not readable; then `objects` is empty
  bool all_known = true;                 // false: it holds an object whose kind or name cannot be told
  std::vector<Problem> problems;
};

ReadResult read_manifests(const ManifestFile& file);

// One object, or a List of them, that was read already. `path` stands in its messages.
ReadResult read_tree(const std::string& path, const YamlNode& root);

// What all Realms of it name, be they good or not.
void add_named(const ReadResult& read, std::vector<RefusedPrefix>& all);

// What stands for a file that could not be read at all.
ReadResult unreadable_manifest(const std::string& path, const std::string& why, const std::string& accepted);

}  // namespace grantd
