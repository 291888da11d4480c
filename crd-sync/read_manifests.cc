#include "crd-sync/read_manifests.h"

#include "crd-sync/canonical.h"
#include "crd-sync/element_path.h"
#include "crd-sync/names.h"
#include "crd-sync/problem.h"
#include "crd-sync/read_object.h"
#include "crd-sync/refused_version.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

namespace grantd {
namespace {

constexpr std::string_view kApiVersion = "keystone.io/v1alpha1";
constexpr const char* kUnnamed = "(no name)";
constexpr std::string_view kAcceptedKinds = "Realm, Grant, Workload, List";

constexpr std::array<std::pair<std::string_view, ResourceKind>, 3> kKinds = {
    {{"Realm", ResourceKind::Realm}, {"Grant", ResourceKind::Grant}, {"Workload", ResourceKind::Workload}}};

// What others write into metadata and nothing here depends on.
constexpr std::array<std::string_view, 12> kOtherMetadata = {
    "labels",          "annotations",  "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
    "finalizers",      "generateName", "generation",        "managedFields",     "ownerReferences",
    "resourceVersion", "uid"};

std::string_view kind_name(ResourceKind kind) {
  for (const auto& [name, value] : kKinds)
    if (value == kind) return name;
  return "";
}

// The text at `key` of a map, "" where there is none; says nothing about what is wrong with it.
std::string_view peek(const YamlNode* map, std::string_view key) {
  const YamlNode* value = map != nullptr && map->type == YamlNode::Type::Map ? map->find(key) : nullptr;
  return value != nullptr && value->type == YamlNode::Type::Scalar && scalar_meaning(*value) == ScalarMeaning::Text
             ? std::string_view(value->text)
             : std::string_view();
}

// Which object this is, as far as can be told before it is read.
std::optional<ObjectId> identify(const YamlNode& root) {
  const std::string_view kind = peek(&root, "kind");
  const YamlNode* metadata = root.find("metadata");
  const std::string_view name = peek(metadata, "name");
  if (!is_dns_subdomain(name)) return std::nullopt;
  const auto known = resource_kind(kind);
  if (!known) return std::nullopt;
  if (*known != ResourceKind::Grant) return ObjectId{*known, std::string(name)};
  std::string_view space = kDefaultNamespace;
  if (metadata->find("namespace") != nullptr) space = peek(metadata, "namespace");
  if (!is_dns_label(space)) return std::nullopt;
  return ObjectId{*known, std::string(space) + "/" + std::string(name)};
}

ObjectHead head_of(const YamlNode& root) {
  ObjectHead head;
  const YamlNode* metadata = root.find("metadata");
  head.uid = peek(metadata, "uid");
  const YamlNode* generation =
      metadata != nullptr && metadata->type == YamlNode::Type::Map ? metadata->find("generation") : nullptr;
  if (generation == nullptr || generation->type != YamlNode::Type::Scalar || generation->quoted) return head;
  const std::string& digits = generation->text;
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc() && end == digits.data() + digits.size() && number > 0) head.generation = number;
  return head;
}

// How messages call an object whose name or kind is wrong.
std::string object_name(const YamlNode& root) {
  const std::string_view kind = peek(&root, "kind"), name = peek(root.find("metadata"), "name");
  if (name.empty()) return std::string(kind);
  return kind.empty() ? std::string(name) : std::string(kind) + " " + std::string(name);
}

// What of an object counts: who it is, and its spec.
YamlNode essence(const YamlNode& root) {
  YamlNode result;
  result.type = YamlNode::Type::Map;
  result.line = root.line;
  for (std::size_t index = 0; index < root.keys.size(); ++index) {
    const std::string& key = root.keys[index].text;
    if (key == "status") continue;
    result.keys.push_back(root.keys[index]);
    result.items.push_back(root.items[index]);
    if (key != "metadata") continue;
    YamlNode& metadata = result.items.back();
    YamlNode all = std::move(metadata);
    metadata = YamlNode{all.type, false, all.line, "", {}, {}};
    for (std::size_t at = 0; at < all.keys.size(); ++at) {
      const std::string& field = all.keys[at].text;
      if (field != "name" && field != "namespace" && field != "uid" && field != "generation") continue;
      metadata.keys.push_back(std::move(all.keys[at]));
      metadata.items.push_back(std::move(all.items[at]));
    }
  }
  return result;
}

void move_lines(YamlNode& node, int by) {
  node.line += by;
  for (YamlKey& key : node.keys) key.line += by;
  for (YamlNode& item : node.items) move_lines(item, by);
}

class FileReader {
 public:
  explicit FileReader(const ManifestFile& file) : file_(file), path_(file.path) { result_.path = file.path; }

  ReadResult read() {
    const auto error = read_yaml(file_.text, {}, [this](int document, YamlNode&& root) {
      document_ = document + file_.first_document - 1;
      if (file_.first_line > 1) move_lines(root, file_.first_line - 1);
      read_document(root);
    });
    if (error) {
      result_.parsed = false;
      result_.objects.clear();
      result_.ends.clear();
      result_.closed.clear();
      result_.apart.clear();
      const int document = error->document > 0 ? error->document + file_.first_document - 1 : 0;
      const int line = error->line > 0 ? error->line + file_.first_line - 1 : 0;
      result_.problems.push_back(
          {Severity::Error, {path_, document, line}, "", "", "", error->message, error->accepted});
    }
    return take_result();
  }

  ReadResult read(const YamlNode& root) {
    read_document(root);
    return take_result();
  }

 private:
  ReadResult take_result() {
    if (result_.problems.size() >= kMaxProblemsPerFile)
      result_.problems.push_back(problem_at(Severity::Warning, path_, "has more problems than are shown"));
    return std::move(result_);
  }

  void read_document(const YamlNode& root) {
    const std::string_view kind = peek(&root, "kind");
    if (root.type == YamlNode::Type::Map && kind == "List")
      read_list(root);
    else
      read_object(root, "");
  }

  void read_list(const YamlNode& root) {
    ObjectProblems problems(at(root.line), "List", result_.problems);
    Fields list(root, "", problems);
    if (const auto version = list.required_text("apiVersion", "v1"))
      if (version->text != "v1" && version->text != kApiVersion) problems.error(*version, "is unknown", "v1");
    report_own_duplicate_keys(root, "", problems);  // the other `items` may hold anything
    list.take("kind");
    list.take("metadata");
    if (const auto items = list.maps("items")) {
      const YamlNode& nodes = *list.take("items");
      for (std::size_t index = 0; index < nodes.items.size(); ++index)
        if (nodes.items[index].type == YamlNode::Type::Map)
          read_object(nodes.items[index], element_path("items", index));
    } else if (list.take("items") == nullptr) {
      problems.error(root.line, "items", "", "is missing", "a list of objects");
    }
    list.finish();
    if (problems.errors() > 0) result_.all_known = false;
  }

  // `prefix` is where the object stands in its document: "", or "items[3]" of a List.
  void read_object(const YamlNode& root, const std::string& prefix) {
    if (root.type != YamlNode::Type::Map) {
      ObjectProblems(at(root.line), "", result_.problems)
          .error(root.line, prefix, root.text, "is no object", "an object with apiVersion, kind, metadata and spec");
      result_.all_known = false;
      return;
    }
    const std::optional<ObjectId> id = identify(root);
    ObjectProblems problems(at(root.line), id ? id->text() : object_name(root), result_.problems);
    if (peek(&root, "kind") == "GrantNodeStatus") {
      problems.warn(root.line, "", "", "is written by grantd itself and not read here");
      return;
    }
    const std::size_t before = result_.problems.size();
    report_duplicate_keys(root, prefix, problems);
    // Two that have run into each other, as where the --- between them is lost: what the second is called nobody knows.
    if (has_duplicate_keys(root)) result_.all_known = false;
    const ObjectHead head = head_of(root);
    ManifestObject object = read_fields(root, prefix, id, problems);
    if (id && head != ObjectHead{}) result_.heads[*id] = head;
    if (problems.errors() > 0) {
      if (id)
        result_.refused.push_back(*id);
      else
        result_.all_known = false;
      keep_legible(root, id, before, problems);
    } else if (id) {
      object.id = *id;
      object.head = head;
      if (auto* grant = std::get_if<Grant>(&object.value)) grant->head = head;
      object.text = tree_text(essence(root));
      result_.objects.push_back(std::move(object));
    }
  }

  // What counts of an object with errors. `before`: how many problems there were without it.
  void keep_legible(const YamlNode& root, const std::optional<ObjectId>& id, std::size_t before,
                    ObjectProblems& problems) {
    const auto kind = resource_kind(peek(&root, "kind"));
    if (id && kind == ResourceKind::Grant) result_.ends[*id] = earliest(result_.ends[*id], legible_end(root));
    keep_apart(root, id, problems);
    if (kind != ResourceKind::Workload) return;
    const auto why =
        std::find_if(result_.problems.begin() + static_cast<std::ptrdiff_t>(before), result_.problems.end(),
                     [](const Problem& each) { return each.severity == Severity::Error; });
    const std::string name = id ? id->key : escape_text(peek(root.find("metadata"), "name"));
    const auto interfaces = legible_interfaces(root);
    for (const LegibleInterface& interface : interfaces)
      result_.closed.push_back(closed_guest(name.empty() ? kUnnamed : name, interface.name, interface.line,
                                            at(root.line), why == result_.problems.end() ? Problem{} : *why));
    if (interfaces.empty())
      problems.warn(root.line, "spec.interface", "",
                    "names no interface that can be closed: unless an earlier version is in force, nothing holds the "
                    "guest");
  }

  void keep_apart(const YamlNode& root, const std::optional<ObjectId>& id, ObjectProblems& problems) {
    const LegibleAddresses addresses = legible_addresses(root);
    for (const auto& [prefix, line] : addresses.prefixes)
      result_.apart.push_back(
          {prefix, id && !addresses.of_several ? id->key : "", id ? id->text() : object_name(root), at(line)});
    for (const int line : addresses.unread)
      problems.warn(line, "spec.addresses", "",
                    "has something that cannot be read as an address: unless an earlier version is in force, what it "
                    "stands for is whose the Realm around it is");
  }

  ManifestObject read_fields(const YamlNode& root, const std::string& prefix, const std::optional<ObjectId>& id,
                             ObjectProblems& problems) {
    ManifestObject object;
    Fields top(root, prefix, problems);
    check_head(top, problems);
    const auto kind = check_kind(top, problems);
    read_metadata(top, kind, problems);
    top.take("status");
    if (!kind) return object;  // its other fields mean nothing
    if (auto spec = top.required_map("spec"); spec && id) {
      object.value = read_spec(*id, root, *spec, problems);
    }
    top.finish();
    return object;
  }

  static void check_head(Fields& top, ObjectProblems& problems) {
    const auto version = top.required_text("apiVersion", kApiVersion);
    if (version && version->text != kApiVersion) problems.error(*version, "is unknown", kApiVersion);
  }

  static std::optional<ResourceKind> check_kind(Fields& top, ObjectProblems& problems) {
    const auto text = top.required_text("kind", kAcceptedKinds);
    if (!text) return std::nullopt;
    const auto kind = resource_kind(text->text);
    if (!kind) problems.error(*text, "is unknown", kAcceptedKinds);
    return kind;
  }

  static void read_metadata(Fields& top, std::optional<ResourceKind> kind, ObjectProblems& problems) {
    auto metadata = top.required_map("metadata");
    if (!metadata) return;
    const auto name = metadata->required_text("name", kAcceptedDnsSubdomain);
    if (name && !is_dns_subdomain(name->text)) problems.error(*name, "is no name of an object", kAcceptedDnsSubdomain);
    if (const auto space = metadata->text("namespace")) {
      if (kind && *kind != ResourceKind::Grant)
        problems.error(*space, "is for Grants only", "no namespace");
      else if (!is_dns_label(space->text))
        problems.error(*space, "is no namespace", kAcceptedDnsLabel);
    }
    for (const std::string_view other : kOtherMetadata) metadata->take(other);
    metadata->finish();
  }

  std::variant<Realm, Grant, Workload> read_spec(const ObjectId& id, const YamlNode& root, Fields& spec,
                                                 ObjectProblems& problems) const {
    switch (id.kind) {
      case ResourceKind::Realm: {
        Realm realm = read_realm(spec, problems);
        realm.name = id.key;
        realm.position = at(root.line);
        return realm;
      }
      case ResourceKind::Grant: {
        Grant grant = read_grant(spec, problems);
        const std::size_t slash = id.key.find('/');
        grant.namespace_name = id.key.substr(0, slash);
        grant.name = id.key.substr(slash + 1);
        grant.spec_hash = spec_hash(*root.find("spec"));
        grant.position = at(root.line);
        return grant;
      }
      case ResourceKind::Workload:
        break;
    }
    Workload workload = read_workload(spec, problems);
    workload.name = id.key;
    workload.position = at(root.line);
    return workload;
  }

  SourcePosition at(int line) const { return {path_, document_, line}; }

  const ManifestFile& file_;
  const SharedText path_;
  ReadResult result_;
  int document_ = 0;
};

}  // namespace

std::optional<ResourceKind> resource_kind(std::string_view name) {
  for (const auto& [text, value] : kKinds)
    if (text == name) return value;
  return std::nullopt;
}

std::string ObjectId::text() const { return std::string(kind_name(kind)) + " " + key; }

const SourcePosition& ManifestObject::position() const {
  return std::visit([](const auto& object) -> const SourcePosition& { return object.position; }, value);
}

ReadResult read_manifests(const ManifestFile& file) { return FileReader(file).read(); }

ReadResult read_tree(const std::string& path, const YamlNode& root) {
  const ManifestFile none{path, "", 0, 0};
  return FileReader(none).read(root);
}

void add_named(const ReadResult& read, std::vector<RefusedPrefix>& all) {
  all.insert(all.end(), read.apart.begin(), read.apart.end());
  for (const ManifestObject& object : read.objects)
    if (const auto* realm = std::get_if<Realm>(&object.value)) add_prefixes(*realm, object.id.text(), all);
}

ReadResult unreadable_manifest(const std::string& path, const std::string& why, const std::string& accepted) {
  ReadResult result;
  result.path = path;
  result.parsed = false;
  result.problems.push_back(problem_at(Severity::Error, path, why, accepted));
  return result;
}

}  // namespace grantd
