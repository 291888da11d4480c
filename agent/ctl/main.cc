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
  grantctl explain bob-web 203.0.113.7:443/TCP
  grantctl explain 192.0.2.10 bob-web:80/TCP --via lan
  grantctl verify
  grantctl endpoints --output json

Exit codes:
  0  done; explain: each packet that it tried would pass, by one way at least; verify: nothing is wrong
  1  explain: one of them would drop by every way; verify: something is wrong
  2  wrong usage
  3  cannot tell: no such Grant, guest or class of uplinks on this node, no maps at the pin root,
     no right to read them, a system call failed

grantctl reads the pinned maps, drops and verify also nftables; it needs root and no running agent.)";

constexpr const char* kVerifyFooter =
    R"(The manifests are read and made into rules anew, and compared with every policy, rule, guest, address and uplink in
the maps; queues with the limits in force. Of the kernel it is asked whether the records hang together, every program is the
first on its interface or stands on its cgroup, and all guests are behind the gate of nftables. Needs no running agent. Of a cluster,
whose objects the API server has, give what it says, taken just before:

  kubectl get realms,grants --all-namespaces --output yaml > grants.yaml
  kubectl get namespaces,pods --all-namespaces --output json > pods.json
  grantctl verify --manifests grants.yaml --pods pods.json

Without --pods the guests there are not compared.)";

constexpr const char* kExplainFooter =
    R"(One end is a guest's name, the other an address or another guest; one end carries the port that the
sender sends to, as in allowedDestinations. A port without a protocol is tried with TCP and with UDP.
Without a port an ICMP echo request (a ping) is tried, which has none: it tells nothing of TCP or UDP.

The datapath itself answers, on the live maps, and leaves no trace. Routes, NAT and other firewalls
are not asked. A packet from an address is tried on each class of uplink that the node has; it counts
as passing where one class lets it pass.

Examples:
  grantctl explain bob-web 203.0.113.7:443/TCP
  grantctl explain bob-web 203.0.113.7
  grantctl explain bob-web [2001:db8::1]:ICMP
  grantctl explain 192.0.2.10 bob-web:80/TCP --via lan
  grantctl explain 10.0.0.1 bob-web:8080/TCP --local)";

using Command = std::function<int()>;

// CLI11 asks for a subcommand before it looks at a word that is none.
std::string tell_what_is_accepted(const CLI::App* app, const CLI::Error& error) {
  if (!app->get_subcommands().empty()) return CLI::FailureMessage::simple(app, error);
  std::string accepted;
  for (const CLI::App* each : app->get_subcommands({})) accepted += (accepted.empty() ? "" : ", ") + each->get_name();
  const auto words = app->remaining();
  if (words.empty() && error.get_name() != "RequiredError") return CLI::FailureMessage::simple(app, error);
  return "grantctl: command '" + (words.empty() ? "" : words.front()) + "': accepted: " + accepted +
         "\nRun with --help for more information.\n";
}

std::string check_reason(const std::string& label) {
  std::string accepted;
  for (std::uint32_t reason = 0; reason < GRANTD_REASON_LIMIT; reason++) {
    const std::string each = grantd::reason_label(reason);
    if (each.empty() || grantd::reason_passes(reason)) continue;
    if (label == each) return "";
    accepted += (accepted.empty() ? "" : ", ") + each;
  }
  for (const auto& [each, sentence] : grantd::gate_reasons()) {
    if (label == each) return "";
    accepted += ", " + each;
  }
  return "'" + label + "' is no reason of a drop; accepted: " + accepted;
}

std::string check_name(const std::string& name) { return name.empty() ? "is empty; accepted: a name" : ""; }

// Left out, it means without end.
std::string check_some(const std::string& number) {
  return CLI::PositiveNumber(number).empty() ? "" : "'" + number + "'; accepted: a number from 1 on";
}

void add_explain(CLI::App& app, grantd::CtlOptions& options, Command& command) {
  static grantd::ExplainOptions asked;
  auto* explain = app.add_subcommand("explain", "What would become of a packet, why, and which line decides");
  explain->footer(kExplainFooter);
  explain->add_option("SOURCE", asked.source, "ADDRESS or GUEST, with or without :PORT/PROTOCOL")->required();
  explain->add_option("DESTINATION", asked.destination, "GUEST or ADDRESS, with or without :PORT/PROTOCOL")->required();
  auto* via = explain->add_option("--via", asked.via, "From an address: only by this class of uplink or interface")
                  ->check(check_name);
  explain->add_flag("--local", asked.local, "From an address: it originates on this node")->excludes(via);
  explain->callback([&] { command = [&] { return grantd::run_explain(options, asked); }; });
}

void add_verify(CLI::App& app, grantd::CtlOptions& options, Command& command) {
  static grantd::VerifyOptions asked;
  auto* verify = app.add_subcommand("verify", "Whether what is in force is what the manifests say, field by field");
  verify->footer(kVerifyFooter);
  auto* manifests = verify
                        ->add_option("--manifests", asked.manifests,
                                     "Directory or file; without it the directory that the agent follows")
                        ->check(CLI::ExistingPath);
  verify->add_option("--pods", asked.pods, "On a cluster, with --manifests: its namespaces and pods, in JSON")
      ->check(CLI::ExistingFile)
      ->needs(manifests);
  verify->callback([&] { command = [&] { return grantd::run_verify(options, asked); }; });
}

}  // namespace

int main(int count, char** words) {
  using namespace grantd;
  CtlOptions options;
  options.pin_root = kDefaultPinRoot;
  options.state_dir = kDefaultStateDir;
  std::string output = "table";
  Command command;

  CLI::App app("Shows what this node enforces on its guests, from the pinned maps.", "grantctl");
  app.footer(kFooter);
  app.require_subcommand(1);
  app.fallthrough();
  app.failure_message(tell_what_is_accepted);
  app.set_version_flag("--version", std::string("grantctl ") + GRANTD_VERSION);
  app.add_option("--pin-root", options.pin_root, "Where the maps are pinned")
      ->envname("GRANTD_PIN_ROOT")
      ->transform(plain_pin_root)
      ->capture_default_str();
  app.add_option("--state-dir", options.state_dir, "Where the agent keeps what it was told, and has refused")
      ->envname("GRANTD_STATE_DIR")
      ->capture_default_str();
  app.add_option("-o,--output", output, "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();

  const auto with_grant = [&](CLI::App* sub) {
    sub->add_option("--grant", options.filter.grant, "Only this Grant: NAMESPACE/NAME or NAME")->check(check_name);
    return sub;
  };
  const auto with_guest = [&](CLI::App* sub) {
    sub->add_option("--guest", options.filter.guest, "Only this guest")->check(check_name);
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
  auto* drops = with_grant(app.add_subcommand(
      "drops", "Refused packets by Grant, direction and reason, at the gate behind the programs too"));
  drops->add_option("--reason", options.filter.reason, "Only this reason")->check(check_reason);
  drops->callback([&] { command = [&] { return run_drops(options); }; });
  with_guest(with_grant(app.add_subcommand("flows", "Connections and exchanges that the datapath knows")))
      ->callback([&] { command = [&] { return run_flows(options); }; });
  RepeatOptions repeat;
  auto* top = with_grant(app.add_subcommand("top", "Rates by Grant and direction, against their limits"));
  top->add_option("--interval", repeat.interval_ms, "Milliseconds between two looks")
      ->check(CLI::Range(100, 60000))
      ->capture_default_str();
  top->add_option("--count", repeat.count, "Looks to show; without it until interrupted")->check(check_some);
  top->callback([&] { command = [&] { return run_top(options, repeat); }; });
  auto* monitor =
      with_grant(app.add_subcommand("monitor", "Refusals and new flows as they happen, sampled; one reader"));
  monitor->add_option("--count", repeat.count, "Events to show; without it until interrupted")->check(check_some);
  monitor->add_option("--seconds", repeat.seconds, "For how long; without it until interrupted")->check(check_some);
  monitor->callback([&] { command = [&] { return run_monitor(options, repeat); }; });
  add_verify(app, options, command);
  add_explain(app, options, command);

  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  options.style.output = output == "json" ? Output::Json : Output::Table;
  options.style.colour = output_is_terminal();
  return command();
}
