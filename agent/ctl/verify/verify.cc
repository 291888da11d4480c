#include "agent/attach/pin_lock.h"
#include "agent/ctl/commands.h"
#include "agent/ctl/console.h"
#include "agent/ctl/verify/hangs_together.h"
#include "agent/ctl/verify/said.h"
#include "agent/snapshot/read_snapshot.h"
#include "crd-sync/counted_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <thread>

namespace grantd {

namespace {

// What an agent that runs needs at most to put a change in force.
constexpr std::chrono::seconds kUnderWay{1};

struct Looked {
  std::vector<std::string> wrong;
  std::string counts;  // of what hangs together
  std::string said;    // of what is as the manifests say; "" where none were read
};

// What the agent at this pin root was told.
Result<std::optional<RunSettings>> settings_here(const CtlOptions& options) {
  auto settings = read_run_settings(options.state_dir);
  if (settings && settings.value() && settings.value()->pin_root != options.pin_root)
    return std::optional<RunSettings>();
  return settings;
}

std::string said_text(const Said& said) {
  std::size_t rules = 0;
  for (const CompiledGrant& grant : said.policy.grants) rules += grant.rules.size() + grant.identity_rules.size();
  return counted_text(said.policy.grants.size(), "Grant") + " with " + counted_text(rules, "rule") + ", " +
         (said.guests ? counted_text(said.policy.endpoints.size(), "guest") + ", " : "") +
         std::to_string(said.policy.prefixes.size()) + " prefixes" + ", " +
         counted_text(said.policy.uplinks.size(), "uplink");
}

Result<Looked> look(const CtlOptions& options, const DatapathMaps& maps, const std::string& manifests,
                    const RunSettings& settings) {
  auto snapshot = read_snapshot(maps, {});
  if (!snapshot) return snapshot.error();
  auto wrong = hangs_together(options.pin_root, maps, snapshot.value());
  if (!wrong) return wrong.error();
  Looked looked{std::move(wrong).value(),
                counted_text(snapshot.value().endpoints.size(), "guest") + ", " +
                    counted_text(snapshot.value().uplinks.size(), "uplink"),
                ""};
  if (manifests.empty()) return looked;
  auto records = read_all_records(maps);
  if (!records) return records.error();
  auto said = read_said(manifests, settings, options.state_dir, records.value());
  if (!said) return said.error();
  for (std::string& each : differences(said.value(), records.value())) looked.wrong.push_back(std::move(each));
  looked.said = said_text(said.value());
  return looked;
}

// What one look sees may be a change under way, where an agent runs; what two see is wrong.
Result<Looked> look_twice(const CtlOptions& options, const DatapathMaps& maps, const std::string& manifests,
                          const RunSettings& settings) {
  auto first = look(options, maps, manifests, settings);
  if (!first || first.value().wrong.empty()) return first;
  const auto held = is_pin_root_held(options.pin_root);
  if (!held) return held.error();
  if (!held.value()) return first;
  std::this_thread::sleep_for(kUnderWay);
  auto second = look(options, maps, manifests, settings);
  if (!second) return second;
  const std::vector<std::string>& before = first.value().wrong;
  std::erase_if(second.value().wrong,
                [&](const std::string& each) { return std::find(before.begin(), before.end(), each) == before.end(); });
  return second;
}

// Why there was nothing to compare with.
std::string not_compared(const std::optional<RunSettings>& settings) {
  return settings ? "the API server has them; accepted: --manifests with what kubectl says (see --help)"
                  : "no agent has left here where they are; accepted: --manifests DIRECTORY";
}

}  // namespace

int run_verify(const CtlOptions& options, const std::string& manifests) {
  const auto cannot = [](const Error& error) {
    complain(error);
    return kExitCannot;
  };
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) return cannot(maps.error());
  auto settings = settings_here(options);
  if (!settings) return cannot(settings.error());
  const RunSettings told = settings.value().value_or(RunSettings{options.pin_root, manifests, {}, {}, {}});
  const std::string path = manifests.empty() ? told.manifests : manifests;
  auto looked = look_twice(options, maps.value(), path, told);
  if (!looked) return cannot(looked.error());
  const auto& [wrong, counts, said] = looked.value();
  std::string text;
  if (options.style.output == Output::Json) {
    nlohmann::ordered_json root = {{"manifests", nullptr}, {"wrong", wrong}};
    if (!path.empty()) root["manifests"] = path;
    text = root.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  } else {
    for (const std::string& line : wrong) text += line + "\n";
    if (wrong.empty())
      text = "All records hang together, and every program is the first on its interface: " + counts + ".\n";
    if (path.empty())
      text += "Not compared with manifests: " + not_compared(settings.value()) + ".\n";
    else if (wrong.empty())
      text += "What is in force is what " + path + " says: " + said + ".\n";
  }
  return exit_after(text, wrong.empty() ? kExitOk : kExitNo);
}

}  // namespace grantd
