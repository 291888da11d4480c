// grantctl: what this node enforces, as the pinned maps say it.
#include "agent/ctl/commands.h"
#include "agent/ctl/console.h"
#include "maps/kernel/datapath_maps.h"

#include <CLI/CLI.hpp>

#include <functional>

namespace {

constexpr const char* kFooter = R"(Examples:
  grantctl status
  grantctl drops --grant alice-to-bob-compute
  grantctl endpoints --output json

Exit codes:
  0  done
  1  the answer is no
  2  wrong usage
  3  cannot tell: no maps at the pin root, no right to read them, a system call failed

grantctl reads the pinned maps; it needs root and no running agent.)";

}  // namespace

int main(int count, char** words) {
  using namespace grantd;
  CtlOptions options;
  options.pin_root = kDefaultPinRoot;
  std::string output = "table";
  std::function<int()> command;

  CLI::App app("Shows what this node enforces on its guests, from the pinned maps.", "grantctl");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.set_version_flag("--version", std::string("grantctl ") + GRANTD_VERSION);
  app.add_option("--pin-root", options.pin_root, "Where the maps are pinned")
      ->envname("GRANTD_PIN_ROOT")
      ->capture_default_str();
  app.add_option("-o,--output", output, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();

  const auto with_grant = [&](CLI::App* sub) {
    sub->add_option("--grant", options.filter.grant, "Only this Grant: NAMESPACE/NAME or NAME");
    return sub;
  };
  const auto with_guest = [&](CLI::App* sub) {
    sub->add_option("--guest", options.filter.guest, "Only this guest");
    return sub;
  };
  app.add_subcommand("status", "The node at a glance: agent, Grants, guests, fill of the maps")->callback([&] {
    command = [&] { return run_status(options); };
  });
  with_grant(app.add_subcommand("grants", "Grants with state, limits and end"))->callback([&] {
    command = [&] { return run_grants(options); };
  });
  with_guest(with_grant(app.add_subcommand("endpoints", "Guests with interface, addresses and state")))->callback([&] {
    command = [&] { return run_endpoints(options); };
  });
  auto* drops = with_grant(app.add_subcommand("drops", "Refused packets by Grant, direction and reason"));
  drops->add_option("--reason", options.filter.reason, "Only this reason");
  drops->callback([&] { command = [&] { return run_drops(options); }; });

  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  options.style.output = output == "json" ? Output::Json : Output::Table;
  options.style.colour = output_is_terminal();
  return command();
}
