#include "agent/handover/guest_namespaces.h"

#include "agent/handover/state_file.h"
#include "crd-sync/names.h"

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxBytes = 16 << 20, kMaxNamespaces = 100'000;

StateFile file_of(const std::string& state_dir) {
  return {guest_namespaces_path(state_dir), kMaxBytes, 2 * kMaxNamespaces + 16,
          "an agent that runs writes it anew within 30 s"};
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

// Older agents have written none.
bool read_former_guests(const json& root, std::map<std::string, std::string>& former) {
  const json* found = json_member(root, "formerGuests");
  if (found == nullptr) return true;
  if (!found->is_object()) return false;
  for (auto each = found->begin(); each != found->end(); ++each) {
    if (!each->is_string() || each.key().empty()) return false;
    former.emplace(each.key(), each->get<std::string>());
  }
  return true;
}

}  // namespace

std::string guest_namespaces_path(const std::string& state_dir) { return state_dir + "/guest-namespaces.json"; }

Result<std::optional<GuestNamespaces>> read_guest_namespaces(const std::string& state_dir) {
  const StateFile file = file_of(state_dir);
  const auto read = file.read();
  if (!read) return read.error();
  const auto& root = read.value();
  if (!root) return std::optional<GuestNamespaces>();
  GuestNamespaces namespaces;
  namespaces.pattern = json_text(*root, "pattern");
  if (namespaces.pattern.empty()) return file.damaged("'pattern' is no text");
  for (const auto& [field, names] : {std::pair{"guests", &namespaces.guests}, {"ordinary", &namespaces.ordinary}})
    if (!read_names(*root, field, *names)) return file.damaged(std::string("'") + field + "' is no list of namespaces");
  if (!read_former_guests(*root, namespaces.former_guests)) return file.damaged("'formerGuests' is no map of pods");
  return std::optional(std::move(namespaces));
}

Result<void> keep_guest_namespaces(const std::string& state_dir, const GuestNamespaces& wanted) {
  if (const auto there = read_guest_namespaces(state_dir); there && there.value() && *there.value() == wanted)
    return {};
  return file_of(state_dir).write({{"pattern", wanted.pattern},
                                   {"guests", wanted.guests},
                                   {"ordinary", wanted.ordinary},
                                   {"formerGuests", wanted.former_guests}});
}

Result<void> disown_ordinary_namespaces(const std::string& state_dir) {
  auto there = read_guest_namespaces(state_dir);
  if (!there || !there.value() || there.value()->ordinary.empty()) return {};
  there.value()->ordinary.clear();
  return keep_guest_namespaces(state_dir, *there.value());
}

}  // namespace grantd
