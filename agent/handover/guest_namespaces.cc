#include "agent/handover/guest_namespaces.h"

#include "crd-sync/api/json.h"
#include "crd-sync/file_text.h"
#include "crd-sync/names.h"

#include <cerrno>

namespace grantd {

namespace {

using nlohmann::json;

constexpr int kVersion = 1;
constexpr std::size_t kMaxBytes = 16 << 20, kMaxNamespaces = 100'000;

Error damaged(const std::string& path, const std::string& what) {
  return Error{path + ": is damaged: " + what + "; an agent that runs writes it anew within 30 s"};
}

// A list of names; false where it is none.
bool read_names(const json& root, const char* field, std::set<std::string>& names) {
  const json* list = json_member(root, field);
  if (list == nullptr || !list->is_array()) return false;
  for (const json& each : *list) {
    if (!each.is_string() || !is_dns_label(each.get_ref<const std::string&>())) return false;
    names.insert(each.get<std::string>());
  }
  return true;
}

}  // namespace

std::string guest_namespaces_path(const std::string& state_dir) { return state_dir + "/guest-namespaces.json"; }

Result<std::optional<GuestNamespaces>> read_guest_namespaces(const std::string& state_dir) {
  const std::string path = guest_namespaces_path(state_dir);
  auto content = read_whole_file(path, kMaxBytes);
  if (!content && content.error().error_number == ENOENT) return std::optional<GuestNamespaces>();
  if (!content) return content.error();
  const auto root = parse_json(content.value(), {.values = 2 * kMaxNamespaces + 16, .depth = 4});
  if (!root || !root->is_object()) return damaged(path, "it is no JSON object");
  if (const json* version = json_member(*root, "version"); version == nullptr || *version != kVersion)
    return damaged(path, "its version is not " + std::to_string(kVersion));
  GuestNamespaces namespaces;
  namespaces.pattern = json_text(*root, "pattern");
  if (namespaces.pattern.empty()) return damaged(path, "'pattern' is no text");
  for (const auto& [field, names] : {std::pair{"guests", &namespaces.guests}, {"ordinary", &namespaces.ordinary}})
    if (!read_names(*root, field, *names))
      return damaged(path, std::string("'") + field + "' is no list of namespaces");
  return std::optional(std::move(namespaces));
}

Result<void> keep_guest_namespaces(const std::string& state_dir, const GuestNamespaces& wanted) {
  if (const auto there = read_guest_namespaces(state_dir); there && there.value() && *there.value() == wanted)
    return {};
  const json root = {
      {"version", kVersion}, {"pattern", wanted.pattern}, {"guests", wanted.guests}, {"ordinary", wanted.ordinary}};
  return replace_file(guest_namespaces_path(state_dir),
                      root.dump(2, ' ', false, json::error_handler_t::replace) + "\n");
}

Result<void> disown_ordinary_namespaces(const std::string& state_dir) {
  auto there = read_guest_namespaces(state_dir);
  if (!there || !there.value() || there.value()->ordinary.empty()) return {};
  there.value()->ordinary.clear();
  return keep_guest_namespaces(state_dir, *there.value());
}

}  // namespace grantd
