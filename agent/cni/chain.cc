#include "agent/cni/chain.h"

#include "crd-sync/api/json.h"

#include <algorithm>
#include <optional>

namespace grantd {

namespace {

using nlohmann::json;

constexpr std::string_view kList = ".conflist";
constexpr const char *kMark = "managedBy", *kOwner = "grantd";

bool is_plugin(const json& value) { return !json_text(value, "type").empty(); }

bool is_marked(const json& root) { return json_text(root, kMark) == kOwner; }

// As Go reads it, which runtimes are written in: what is no UTF-8 is U+FFFD, and a byte order mark is no JSON.
std::optional<json> parse_as_runtime(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) return std::nullopt;
  return parse_json(json::parse(dump_json(json(text))).get<std::string>(), {});
}

// A list of plugins, also of a file that holds a single one; as libcni reads it.
Result<json> read_list(std::string_view name, const Result<std::string>& text) {
  if (!text) return text.error();
  auto root = parse_as_runtime(text.value());
  if (!root || !root->is_object()) return Error{"is no JSON object"};
  if (json_text(*root, "name").empty()) return Error{"names no network"};
  if (!name.ends_with(kList)) {
    if (!is_plugin(*root)) return Error{"has no 'type', which names its plugin"};
    json list = {{"name", (*root)["name"]}, {"plugins", json::array({*root})}};
    if (const json* version = json_member(*root, "cniVersion")) list["cniVersion"] = *version;
    return list;
  }
  const json* plugins = json_member(*root, "plugins");
  if (plugins == nullptr || !plugins->is_array() || plugins->empty() ||
      !std::all_of(plugins->begin(), plugins->end(), is_plugin))
    return Error{"'plugins' is no list of plugins, each with its 'type'"};
  return std::move(*root);
}

json entry(const PluginSettings& settings) {
  return {{"type", kCniPlugin},
          {"pinRoot", settings.pin_root},
          {"stateDir", settings.state_dir},
          {"recordDir", settings.record_dir},
          {"namespacePattern", settings.namespace_pattern},
          {"attach", settings.attach},
          {"refuseUnknown", settings.refuse_unknown},
          {"ordinaryNamespaces", settings.ordinary}};
}

Result<std::string> with_ours(json list, const PluginSettings& settings) {
  // Of several versions the runtime takes the newest that it knows, so none may be left that we do not know.
  if (const auto versions = list.find("cniVersions"); versions != list.end() && versions->is_array()) {
    json known = json::array();
    for (const json& each : *versions)
      if (each.is_string() && is_known_cni_version(each.get<std::string>())) known.push_back(each);
    *versions = std::move(known);
  }
  const std::string version = json_text(list, "cniVersion");
  if (!is_known_cni_version(version)) return Error{"cniVersion '" + version + "'; " + kAcceptedCniVersions};
  json plugins = json::array();
  for (json& each : list["plugins"])
    if (json_text(each, "type") != kCniPlugin) plugins.push_back(std::move(each));
  plugins.push_back(entry(settings));
  list["plugins"] = std::move(plugins);
  list[kMark] = kOwner;
  return list.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace

bool is_our_chain(std::string_view text) {
  const auto root = parse_json(text, {});
  return root && is_marked(*root);
}

bool is_conf_name(std::string_view name) {
  return name.ends_with(".conf") || name.ends_with(kList) || name.ends_with(".json");
}

Chain make_chain(const ConfFiles& files, const PluginSettings& settings) {
  Chain chain;
  for (const auto& [name, text] : files) {
    if (!is_conf_name(name) || name == kChainFile) continue;
    auto list = read_list(name, text);
    if (!list) {
      chain.invalid.insert(name);
      if (name < kChainFile) {
        // What we call invalid the runtime may take; and where it does not, it takes none behind it either.
        chain.overtaken = true;
        chain.problems.push_back(problem_at(Severity::Error, name,
                                            list.error().message + ", and it sorts before " + std::string(kChainFile) +
                                                ": guests' interfaces may not be closed before they start",
                                            "a name that sorts behind"));
      } else {
        chain.problems.push_back(problem_at(Severity::Warning, name, list.error().message + "; it is passed over"));
      }
      continue;
    }
    if (is_marked(list.value())) continue;
    chain.from = name;
    const bool first = name < kChainFile;
    chain.overtaken |= first;
    if (first)
      chain.problems.push_back(problem_at(Severity::Error, name,
                                          "the runtime takes it, because it sorts before " + std::string(kChainFile) +
                                              ": guests' interfaces are not closed before they start",
                                          "a name that sorts behind"));
    auto made = with_ours(std::move(list).value(), settings);
    if (made)
      chain.text = std::move(made).value();
    else
      chain.problems.push_back(
          problem_at(Severity::Error, name, "grantd-cni cannot be put behind it: " + made.error().message));
    return chain;
  }
  chain.problems.push_back(
      problem_at(Severity::Warning, "", "the runtime has no network configuration yet, so there is nothing to follow"));
  return chain;
}

}  // namespace grantd
