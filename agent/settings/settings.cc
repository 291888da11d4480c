#include "agent/settings/settings.h"

#include "agent/cni/plugin_settings.h"
#include "agent/settings/settings_file.h"
#include "agent/settings/sources.h"
#include "agent/settings/values.h"
#include "crd-sync/problem.h"
#include "maps/pin_root.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <iostream>

namespace grantd {

namespace {

constexpr std::size_t kPathBytes = 1024;
constexpr unsigned kMinFlows = 64, kMaxFlows = 1U << 20;
// An identity of 13 bits each, beside this node's own and nobody.
constexpr unsigned kMostIdentities = GRANTD_MAX_IDENTITIES, kMostGrants = kMostIdentities - 1;
constexpr unsigned kMostEndpoints = 1U << 18, kMostRules = 1U << 22, kMostPrefixes = 1U << 20;
constexpr unsigned kMostTotalFlows = 1U << 28;

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

std::string beside_this_program(const char* name) {
  std::error_code failed;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", failed);
  return failed ? std::string() : (self.parent_path() / name).string();
}

// What one command was given.
struct Given {
  Settings settings;
  // Text until it has been checked.
  std::vector<std::string> uplinks, pod_cidrs, service_cidrs;
  std::string stamp_mask = "0xff001fff", attach = "auto", shaper = "auto", log_format = "text", output = "table";
};

template <typename Value>
CLI::Option* add(CLI::App& command, const std::string& name, Value& value, const std::string& help) {
  return command.add_option("--" + name, value, help);
}

void add_choice(CLI::App& command, const std::string& name, bool& value, const std::string& help) {
  command.add_flag("--" + name, value, help)->check(check_choice);
}

CLI::Validator number_from(unsigned least, unsigned most) {
  return {[=](std::string& text) { return check_number(text, least, most); },
          "INT in [" + std::to_string(least) + " - " + std::to_string(most) + "]"};
}

CLI::Validator one_of(std::vector<std::string> words) {
  const auto listed = CLI::detail::join(words, ", ");
  return {[words = std::move(words), listed](std::string& text) {
            const bool known = std::find(words.begin(), words.end(), text) != words.end();
            return known ? "" : "'" + text + "': accepted: one of " + listed;
          },
          "{" + listed + "}"};
}

// One value each time it is given; several in the environment, with commas, or in a list of the file.
CLI::Option* add_list(CLI::App& command, const std::string& name, std::vector<std::string>& values,
                      const std::string& help) {
  return add(command, name, values, help)->allow_extra_args(false)->delimiter(',');
}

void add_node_options(CLI::App& command, Given& given) {
  add(command, "node", given.settings.node, "Name of this node (default: the host's name)")->check(check_node_name);
  add_list(command, "uplink", given.uplinks,
           "INTERFACE=CLASS, repeatable, the first that matches counts; * and ? match; CLASS tailnet, lan, overlay or "
           "untrusted")
      ->check(check_uplink);
  add_list(command, "pod-cidr", given.pod_cidrs, "Range of the cluster's pods, repeatable (default: k3s' 10.42.0.0/16)")
      ->check(check_prefix);
  add_list(command, "service-cidr", given.service_cidrs,
           "Range of the cluster's services, repeatable (default: k3s' 10.43.0.0/16)")
      ->check(check_prefix);
}

// Of run and of check, which refuses what run would refuse.
void add_limits(CLI::App& command, Limits& limits) {
  const auto limit = [&command](const char* name, auto& value, unsigned least, unsigned most, const char* help) {
    add(command, name, value, help)->capture_default_str()->check(number_from(least, most));
  };
  limit("max-grants", limits.grants, 1, kMostGrants, "Grants that this node takes on");
  limit("max-endpoints", limits.endpoints, 1, kMostEndpoints, "Guests' attachments");
  limit("max-rules", limits.rules, 1, kMostRules, "Rules of all Grants together");
  limit("max-realm-prefixes", limits.prefixes, 1, kMostPrefixes, "Prefixes of Realms and addresses of guests");
  limit("max-identities", limits.identities, 2, kMostIdentities, "Realms and Grants together, and this node itself");
  limit("max-flows", limits.flows, kMinFlows, kMostTotalFlows,
        "Flows that the tables of all Grants hold together; each takes about 150 bytes, used or not");
  limit("flows-per-grant", limits.flows_per_grant, kMinFlows, kMaxFlows, "Flows that each Grant's own table holds");
}

void add_directories(CLI::App& command, Given& given) {
  add(command, "state-dir", given.settings.state_dir, "What is remembered across restarts")
      ->capture_default_str()
      ->check(check_absolute_path);
  add(command, "pin-root", given.settings.pin_root, "Where maps, programs and links are pinned")
      ->capture_default_str()
      ->transform(plain_pin_root)
      ->check(check_pin_root);
}

void add_log_options(CLI::App& command, Given& given) {
  add(command, "log-format", given.log_format, "text or json")->capture_default_str()->check(one_of({"text", "json"}));
  add(command, "log-level", given.settings.log_level, "debug, info, warn or error")
      ->capture_default_str()
      ->check(one_of({"debug", "info", "warn", "error"}));
}

void add_records(CLI::App& command, Given& given) {
  add(command, "cni-records", given.settings.cni_records, "Where grantd-cni writes down whose each interface is")
      ->capture_default_str()
      ->check(check_absolute_path);
}

void add_sources(CLI::App& command, Given& given) {
  add(command, "manifests", given.settings.manifests,
      "Directory of Realms, Grants and Workloads, watched for changes; this or --kubernetes");
  add_choice(command, "kubernetes", given.settings.kubernetes, "Realms, Grants and guests from the API server");
  add(command, "kubeconfig", given.settings.kubeconfig,
      "Where the API server is (default: as the service account of this pod)");
  add(command, "guest-namespaces", given.settings.guest_namespaces,
      "Names of guests' namespaces; * stands for the realm")
      ->capture_default_str()
      ->check(check_guest_namespaces);
  add_records(command, given);
  add(command, "cni-cache", given.settings.cni_cache, "Where the runtime's CNI library keeps its results")
      ->capture_default_str()
      ->check(check_absolute_path);
  add(command, "cri-socket", given.settings.cri_socket,
      "Socket of the container runtime, asked for guests of which no record tells; auto: the usual one that is there")
      ->capture_default_str()
      ->check(check_cri_socket);
}

void add_chain_directories(CLI::App& command, Given& given) {
  add(command, "cni-conf-dir", given.settings.cni_conf_dir,
      "Where the runtime looks for network configurations; with --cni-bin-dir: grantd-cni is kept in its chain")
      ->check(check_absolute_path);
  add(command, "cni-bin-dir", given.settings.cni_bin_dir, "Where the runtime looks for CNI plugins")
      ->check(check_absolute_path);
}

void add_chain(CLI::App& command, Given& given) {
  add_chain_directories(command, given);
  add(command, "cni-plugin", given.settings.cni_plugin,
      "The grantd-cni to install (default: the one beside this program)")
      ->check(check_absolute_path);
  add_choice(command, "cni-refuse-unknown", given.settings.cni_refuse_unknown,
             "Pods of namespaces that the agent has not yet recorded do not start, instead of being no guests");
}

// How whoever set it calls it.
std::string named(const Origins& origins, const std::string& name) {
  const auto found = origins.find(name);
  return found == origins.end() ? "--" + name + " (default)" : found->second;
}

// Each in its range, and no table would ever fit.
void check_limits(const Limits& limits, const Origins& origins) {
  if (limits.flows < limits.flows_per_grant)
    throw CLI::ValidationError(named(origins, "max-flows"),
                               std::to_string(limits.flows) + " is less than one table of " +
                                   named(origins, "flows-per-grant") + " " + std::to_string(limits.flows_per_grant) +
                                   "; accepted: at least that");
}

void check_chain(const Settings& settings, const Origins& origins) {
  if (settings.cni_conf_dir.empty() == settings.cni_bin_dir.empty()) return;
  const bool conf = !settings.cni_conf_dir.empty();
  throw CLI::ValidationError(
      named(origins, conf ? "cni-conf-dir" : "cni-bin-dir"),
      std::string("given without --") + (conf ? "cni-bin-dir" : "cni-conf-dir") + "; accepted: both or neither");
}

// One of the two, and nothing that is of the other.
void check_sources(const Settings& settings, const Origins& origins) {
  if (!settings.kubernetes && settings.manifests.empty())
    throw CLI::ValidationError("--manifests, --kubernetes",
                               "none given; accepted: either --manifests DIRECTORY or --kubernetes");
  if (settings.kubernetes && !settings.manifests.empty())
    throw CLI::ValidationError(named(origins, "manifests") + ", " + named(origins, "kubernetes"),
                               "both given; accepted: either --manifests DIRECTORY or --kubernetes");
  if (!settings.kubeconfig.empty() && !settings.kubernetes)
    throw CLI::ValidationError(
        named(origins, "kubeconfig"),
        "'" + settings.kubeconfig + "': is of no use without --kubernetes; accepted: only with --kubernetes");
}

CLI::App* add_run(CLI::App& app, Given& given) {
  CLI::App* run = app.add_subcommand("run", "Holds the guests of this node to their Grants, until it is told to stop");
  add_sources(*run, given);
  add_chain(*run, given);
  add_node_options(*run, given);
  add_directories(*run, given);
  add(*run, "listen", given.settings.listen, "ADDRESS:PORT of /metrics, /healthz and /readyz; none: not at all")
      ->capture_default_str()
      ->check(check_listen);
  add(*run, "stamp-mask", given.stamp_mask, "Bits of the packet's mark that carry the sender's identity")
      ->capture_default_str()
      ->check(check_stamp_mask);
  add_limits(*run, given.settings.limits);
  add(*run, "attach", given.attach, "How programs are attached; auto: tcx where the kernel has it")
      ->capture_default_str()
      ->check(one_of({"auto", "tcx", "clsact"}));
  add(*run, "shaper", given.shaper, "How limits are held; auto: packets wait in HTB queues where the kernel has them")
      ->capture_default_str()
      ->check(one_of({"auto", "htb", "policer"}));
  add_choice(*run, "trust-clock", given.settings.trust_clock,
             "Enforce dated Grants although the clock is not synchronised");
  add_log_options(*run, given);
  run->footer(
      "example:\n  grantd run --manifests /etc/grantd/manifests --uplink tailscale0=tailnet --uplink 'eth*=lan'\n"
      "  grantd run --kubernetes --kubeconfig /etc/rancher/k3s/k3s.yaml --uplink 'eth*=lan'\n");
  return run;
}

CLI::App* add_check(CLI::App& app, Given& given) {
  CLI::App* check = app.add_subcommand("check", "Reads and compiles manifests as the service would; needs no root");
  check->add_option("PATH", given.settings.paths, "Files or directories")->required();
  add_node_options(*check, given);
  add_limits(*check, given.settings.limits);
  check->add_option("--output,-o", given.output, "table or json")
      ->capture_default_str()
      ->configurable(false)
      ->check(one_of({"table", "json"}));
  check->footer(
      "exit codes:\n  0  everything is accepted\n  1  something is refused\n  2  wrong usage\n\n"
      "example:\n  grantd check /etc/grantd/manifests\n");
  return check;
}

CLI::App* add_uninstall(CLI::App& app, Given& given) {
  CLI::App* uninstall =
      app.add_subcommand("uninstall", "Removes every program, map and file of grantd; the guests are open then");
  add_directories(*uninstall, given);
  add_chain_directories(*uninstall, given);
  add_records(*uninstall, given);
  uninstall->footer(
      "exit codes:\n  0  nothing of grantd is left\n  1  something could not be removed\n"
      "  2  wrong usage\n\nexample:\n  grantd uninstall\n");
  return uninstall;
}

std::vector<IpPrefix> prefixes(const std::vector<std::string>& given, const char* by_default) {
  std::vector<IpPrefix> all;
  for (const std::string& text : given.empty() ? std::vector<std::string>{by_default} : given)
    all.push_back(IpPrefix::parse(text).value());
  return all;
}

Settings finish(Given given) {
  Settings settings = std::move(given.settings);
  if (settings.node.empty()) settings.node = host_name();
  if (settings.cni_plugin.empty()) settings.cni_plugin = beside_this_program(kCniPlugin);
  if (settings.listen == "none") settings.listen.clear();
  for (const std::string& text : given.uplinks) settings.uplinks.push_back(read_uplink(text));
  settings.pod_cidrs = prefixes(given.pod_cidrs, "10.42.0.0/16");
  settings.service_cidrs = prefixes(given.service_cidrs, "10.43.0.0/16");
  settings.stamp_mask = read_stamp_mask(given.stamp_mask);
  settings.attach = given.attach == "tcx"      ? AttachSetting::Tcx
                    : given.attach == "clsact" ? AttachSetting::Clsact
                                               : AttachSetting::Auto;
  settings.shaper = given.shaper == "htb"       ? ShaperSetting::Htb
                    : given.shaper == "policer" ? ShaperSetting::Policer
                                                : ShaperSetting::Auto;
  settings.log_format = given.log_format == "json" ? LogFormat::Json : LogFormat::Text;
  settings.json_output = given.output == "json";
  return settings;
}

// What CLI11 says of a flag that is given too often tells neither the values nor what is accepted.
void check_given_once(const CLI::App& command) {
  for (const CLI::Option* option : command.get_options({}))
    if (option->get_items_expected_max() == 1 && option->count() > 1)
      throw CLI::ValidationError(option->get_name(), "given " + std::to_string(option->count()) + " times ('" +
                                                         CLI::detail::join(option->results(), "', '") +
                                                         "'); accepted: once");
}

void parse_line(CLI::App& app, int count, const char* const* arguments) {
  try {
    app.parse(count, arguments);
  } catch (const CLI::ArgumentMismatch&) {
    check_given_once(app);
    for (const CLI::App* called : app.get_subcommands()) check_given_once(*called);
    throw;
  }
}

// For the help alone: CLI11 would read what it knows of the environment by itself.
void name_variables(CLI::App& app) {
  app.get_option(std::string("--") + kConfigFlag)->envname(environment_name(kConfigFlag));
  for (CLI::App* command : app.get_subcommands({}))
    for (CLI::Option* option : command->get_options({}))
      if (is_setting(*option)) option->envname(environment_name(option->get_lnames().front()));
}

// The message, and the exit code of wrong usage; after --help and --version there is nothing wrong.
int tell(CLI::App& app, const CLI::ParseError& error) {
  name_variables(app);
  const auto extras = app.remaining();
  if (error.get_exit_code() != 0 && app.get_subcommands().empty())
    std::cerr << "grantd: command '" << (extras.empty() ? "" : extras.front())
              << "': accepted: run, check or uninstall\nRun with --help for more information.\n";
  else
    app.exit(error);
  return error.get_exit_code() != 0 ? 2 : 0;
}

}  // namespace

ParsedSettings parse_settings(int count, const char* const* arguments, const char* usual_file) {
  Given for_run, for_check, for_uninstall;
  CLI::App app{"Holds guest workloads to their Grants, with eBPF", "grantd"};
  app.set_version_flag("--version", "grantd " GRANTD_VERSION);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  app.footer(
      "Each setting can stand in the file (name = value, as the flag without --), in the\n"
      "environment (--pin-root: GRANTD_PIN_ROOT) and on the command line; the later one counts.\n\n"
      "example:\n  grantd run --help\n");
  std::string file;
  app.add_option(std::string("--") + kConfigFlag, file, "File of settings (TOML)")->default_str(usual_file);
  CLI::App* run = add_run(app, for_run);
  const CLI::App* check = add_check(app, for_check);
  add_uninstall(app, for_uninstall);
  for (CLI::App* command : app.get_subcommands({})) command->fallthrough();  // --config behind the command too
  ParsedSettings parsed;
  try {
    parse_line(app, count, arguments);
    // What run would refuse, as far as the file alone says it.
    const Origins origins = fill_in(app, *app.get_subcommands().front(), usual_file, *check ? run : nullptr);
    if (*run) check_sources(for_run.settings, origins);
    if (!*check) check_chain(*run ? for_run.settings : for_uninstall.settings, origins);
    if (*run || *check) check_limits((*run ? for_run : for_check).settings.limits, origins);
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = tell(app, error);
    return parsed;
  }
  for (const std::string& name : unknown_variables(app))
    parsed.warnings.push_back(name + " in the environment is no setting of grantd, and has no effect; accepted: the " +
                              "names of flags, as in GRANTD_PIN_ROOT for --pin-root");
  // Who names a file has said which one counts.
  if (app.get_option(std::string("--") + kConfigFlag)->count() == 0 &&
      !std::getenv(environment_name(kConfigFlag).c_str()))
    for (const std::string& path : files_beside(usual_file))
      parsed.warnings.push_back(escape_text(path, kPathBytes) + " is not read; accepted: " + usual_file +
                                ", or the file that --config or " + environment_name(kConfigFlag) + " names");
  parsed.settings = finish(std::move(*run ? for_run : *check ? for_check : for_uninstall));
  parsed.settings.command = *run     ? Settings::Command::Run
                            : *check ? Settings::Command::Check
                                     : Settings::Command::Uninstall;
  return parsed;
}

}  // namespace grantd
