#include "agent/handover/refusals.h"

#include "agent/handover/state_file.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::size_t kMaxTextBytes = 1024;
constexpr std::size_t kMaxBytes = kRefusalsKept * 16 * kMaxTextBytes;  // a byte takes six at most when it is escaped

StateFile file_of(const std::string& state_dir) {
  return {refusals_path(state_dir), kMaxBytes, 8 * kRefusalsKept + 16, "an agent that runs writes it anew within 30 s"};
}

constexpr std::pair<Refusal::Kind, const char*> kKinds[] = {{Refusal::Kind::Grant, "Grant"},
                                                            {Refusal::Kind::Guest, "guest"},
                                                            {Refusal::Kind::Realm, "Realm"},
                                                            {Refusal::Kind::File, "file"}};

std::string kind_text(Refusal::Kind kind) {
  const auto* found =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& each) { return each.first == kind; });
  return found->second;
}

json list_of(const std::vector<Refusal>& refused) {
  json list = json::array();
  for (const Refusal& each : refused)
    list.push_back({{"kind", kind_text(each.kind)}, {"name", each.name}, {"why", each.why}});
  return list;
}

std::optional<Refusal> refusal_of(const json& entry) {
  const std::string kind = json_text(entry, "kind"), name = json_text(entry, "name");
  const auto* found =
      std::find_if(std::begin(kKinds), std::end(kKinds), [&](const auto& each) { return each.second == kind; });
  if (found == std::end(kKinds) || name.empty()) return std::nullopt;
  return Refusal{found->first, name, json_text(entry, "why")};
}

}  // namespace

std::string refusals_path(const std::string& state_dir) { return state_dir + "/refused.json"; }

Result<std::optional<Refusals>> read_refusals(const std::string& state_dir) {
  const StateFile file = file_of(state_dir);
  const auto read = file.read();
  if (!read) return read.error();
  const auto& root = read.value();
  if (!root) return std::optional<Refusals>();
  Refusals refusals;
  refusals.pin_root = json_text(*root, "pin_root");
  const json* more = json_member(*root, "more");
  if (more == nullptr || !more->is_number_unsigned()) return file.damaged("'more' is no number");
  refusals.more = more->get<std::uint64_t>();
  const json* list = json_member(*root, "refused");
  if (list == nullptr || !list->is_array()) return file.damaged("'refused' is no list");
  for (const json& entry : *list) {
    auto refusal = refusal_of(entry);
    if (!refusal) return file.damaged("'refused' has an entry without kind or name");
    refusals.refused.push_back(std::move(*refusal));
  }
  return std::optional(std::move(refusals));
}

Result<void> keep_refusals(const std::string& state_dir, Refusals wanted) {
  if (wanted.refused.size() > kRefusalsKept) {
    wanted.more += wanted.refused.size() - kRefusalsKept;
    wanted.refused.resize(kRefusalsKept);
  }
  for (Refusal& each : wanted.refused)
    if (each.why.size() > kMaxTextBytes) each.why.resize(kMaxTextBytes);
  if (const auto there = read_refusals(state_dir); there && there.value() && *there.value() == wanted) return {};
  return file_of(state_dir).write(
      {{"pin_root", wanted.pin_root}, {"refused", list_of(wanted.refused)}, {"more", wanted.more}});
}

}  // namespace grantd
