#include "agent/attach/pin_lock.h"
#include "agent/ctl/commands.h"
#include "agent/ctl/console.h"
#include "agent/ctl/verify/hangs_together.h"
#include "agent/ctl/verify/program_differences.h"
#include "agent/ctl/verify/queue_differences.h"
#include "agent/ctl/verify/said.h"
#include "agent/ctl/view/page.h"
#include "agent/snapshot/read_snapshot.h"
#include "crd-sync/counted_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <thread>

namespace grantd {

namespace {

// Between looks at what an agent that runs may be about to put in force.
constexpr std::chrono::seconds kPause{1};
constexpr int kLooks = 4;

struct Looked {
  std::string manifests;  // where they are; "": the API server has them
  std::vector<std::string> wrong;
  std::string counts;  // of what hangs together
  std::string said;    // of what is as the manifests say
  bool constants_compared = true, guests_compared = true;
};

std::string said_text(const Said& said) {
  std::size_t rules = 0;
  for (const CompiledGrant& grant : said.policy.grants) rules += grant.rules.size() + grant.identity_rules.size();
  return counted_text(said.policy.grants.size(), "Grant") + " with " + counted_text(rules, "rule") + ", " +
         (said.guests ? counted_text(said.policy.endpoints.size(), "guest") + ", " : "") +
         std::to_string(said.policy.prefixes.size()) + " addresses of Realms and guests, " +
         counted_text(said.policy.uplinks.size(), "uplink");
}

// What the agent at this pin root was told. Without it nobody knows what a manifest becomes here.
Result<RunSettings> settings_here(const CtlOptions& options) {
  auto settings = read_run_settings(options.state_dir);
  if (!settings) return settings.error();
  if (!settings.value() || settings.value()->pin_root != options.pin_root)
    return Error{options.state_dir + ": no agent of the pin root " + options.pin_root +
                     " has left here what it was told; accepted: its --pin-root and --state-dir",
                 0};
  if (settings.value()->network_namespace != own_network_namespace())
    return Error{"this is another network namespace than the agent's; accepted: its own", 0};
  return std::move(*settings.value());
}

Result<Looked> look(const CtlOptions& options, const DatapathMaps& maps, VerifyOptions asked) {
  auto settings = settings_here(options);
  if (!settings) return settings.error();
  auto snapshot = read_snapshot(maps, {});
  if (!snapshot) return snapshot.error();
  auto wrong = hangs_together(options.pin_root, maps, snapshot.value());
  if (!wrong) return wrong.error();
  Looked looked;
  if (asked.manifests.empty()) asked.manifests = settings.value().manifests;
  looked.manifests = asked.manifests;
  looked.wrong = std::move(wrong).value();
  auto stamp = stamp_settings(snapshot.value().node.stamp_mask);
  if (!stamp) return stamp.error();
  auto programs = program_differences(options.pin_root, stamp.value());
  if (!programs) return programs.error();
  for (std::string& each : programs.value().wrong) looked.wrong.push_back(std::move(each));
  looked.constants_compared = programs.value().constants_compared;
  looked.counts = counted_text(snapshot.value().endpoints.size(), "guest") + ", " +
                  counted_text(snapshot.value().uplinks.size(), "uplink");
  auto records = read_all_records(options.pin_root, maps);
  if (!records) return records.error();
  for (std::string& each : queue_differences(records.value().state)) looked.wrong.push_back(std::move(each));
  if (looked.manifests.empty()) return looked;
  auto said = read_said(asked, settings.value(), options.state_dir, records.value());
  if (!said) return said.error();
  for (std::string& each : differences(said.value(), records.value())) looked.wrong.push_back(std::move(each));
  looked.said = said_text(said.value());
  looked.guests_compared = said.value().guests;
  return looked;
}

// What one look sees may be a change under way, where an agent runs; what all of them see is wrong.
Result<Looked> look_again(const CtlOptions& options, const DatapathMaps& maps, const VerifyOptions& asked) {
  auto seen = look(options, maps, asked);
  for (int looks = 1; seen && !seen.value().wrong.empty() && looks < kLooks; looks++) {
    const auto held = is_pin_root_held(options.pin_root);
    if (!held) return held.error();
    if (!held.value()) break;
    std::this_thread::sleep_for(kPause);
    const std::vector<std::string> before = std::move(seen.value().wrong);
    seen = look(options, maps, asked);
    if (!seen) break;
    std::erase_if(seen.value().wrong, [&](const std::string& each) {
      return std::find(before.begin(), before.end(), each) == before.end();
    });
  }
  return seen;
}

std::string text_of(const Looked& looked) {
  std::string text;
  for (const std::string& line : looked.wrong) text += line + "\n";
  if (looked.wrong.empty())
    text =
        "All records hang together, every program is this version's and the first on its interface or on its cgroup, "
        "and the gate holds: " +
        looked.counts + ".\n";
  if (!looked.constants_compared)
    text += "Not compared: the constants of the programs, which takes CAP_SYS_ADMIN; accepted: on the node itself.\n";
  if (looked.manifests.empty())
    return text +
           "Not compared with manifests: the API server has them; accepted: --manifests with what kubectl says "
           "(see --help).\n";
  if (!looked.guests_compared)
    text += "Not compared: the guests, which are pods; accepted: --pods with what kubectl says (see --help).\n";
  if (looked.wrong.empty()) text += "What is in force is what " + looked.manifests + " says: " + looked.said + ".\n";
  return text;
}

nlohmann::ordered_json json_of(const Looked& looked) {
  nlohmann::ordered_json root = {{"manifests", nullptr},
                                 {"constants_compared", looked.constants_compared},
                                 {"guests_compared", !looked.manifests.empty() && looked.guests_compared},
                                 {"wrong", looked.wrong}};
  if (!looked.manifests.empty()) root["manifests"] = looked.manifests;
  return root;
}

}  // namespace

int run_verify(const CtlOptions& options, const VerifyOptions& asked) {
  auto maps = DatapathMaps::open_pinned(options.pin_root);
  if (!maps) {
    complain(maps.error());
    return kExitCannot;
  }
  const auto looked = look_again(options, maps.value(), asked);
  if (!looked) {
    complain(looked.error());
    return kExitCannot;
  }
  return exit_after(options.style.output == Output::Json ? json_text(json_of(looked.value())) : text_of(looked.value()),
                    looked.value().wrong.empty() ? kExitOk : kExitNo);
}

}  // namespace grantd
