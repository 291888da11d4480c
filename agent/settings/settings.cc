#include "agent/settings/settings.h"

#include "maps/stamp_settings.h"

#include <CLI/CLI.hpp>
#include <unistd.h>

#include <array>
#include <charconv>
#include <iostream>

namespace grantd {

namespace {

constexpr const char* kDefaultFile = "/etc/grantd/grantd.toml";

std::string host_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "localhost";
}

// Validators of CLI11 return what is wrong, "" for nothing.
std::string check_uplink(const std::string& text) {
  const auto sign = text.rfind('=');
  const std::string name = sign == std::string::npos ? "" : text.substr(sign + 1);
  if (sign == std::string::npos || sign == 0 || (name != "tailnet" && name != "lan" && name != "overlay"))
    return "uplink '" + text + "': accepted: INTERFACE=CLASS, INTERFACE a name that may contain * and ?, CLASS tailnet, "
           "lan or overlay";
  return "";
}

UplinkRule uplink_of(const std::string& text) {
  const auto sign = text.rfind('=');
  const std::string name = text.substr(sign + 1);
  return {text.substr(0, sign), name == "tailnet" ? UplinkClass::Tailnet
                                : name == "lan"   ? UplinkClass::Lan
                                                  : UplinkClass::Overlay};
}

std::string check_prefix(const std::string& text) {
  auto prefix = IpPrefix::parse(text);
  return prefix ? "" : "prefix '" + text + "': " + prefix.error().message;
}

std::string check_listen(const std::string& text) {
  if (text.empty() || text == "none") return "";
  const auto colon = text.rfind(':');
  unsigned port = 0;
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + (colon == std::string::npos ? text.size() : colon + 1), end, port);
  if (colon == std::string::npos || parsed.ec != std::errc() || parsed.ptr != end || port > 65535)
    return "listen '" + text + "': accepted: ADDRESS:PORT, [IPv6]:PORT or none";
  return "";
}

bool parse_mask(const std::string& text, std::uint32_t& mask) {
  const bool hexadecimal = text.rfind("0x", 0) == 0;
  const char* begin = text.data() + (hexadecimal ? 2 : 0);
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(begin, end, mask, hexadecimal ? 16 : 10);
  return parsed.ec == std::errc() && parsed.ptr == end;
}

std::string check_mask(const std::string& text) {
  std::uint32_t mask = 0;
  if (!parse_mask(text, mask)) return "stamp mask '" + text + "': accepted: a number of 32 bits, such as 0xff001fff";
  auto stamp = stamp_settings(mask);
  return stamp ? "" : stamp.error().message;
}

// What is text until it has been checked.
struct Texts {
  std::vector<std::string> uplinks, pod_cidrs, service_cidrs;
  std::string stamp_mask = "0xff001fff", attach = "auto", log_format = "text", output = "table";
};

void add_node_options(CLI::App& command, Settings& settings, Texts& texts) {
  command.add_option("--node", settings.node, "Name of this node (default: the host's name)")->envname("GRANTD_NODE");
  command.add_option("--uplink", texts.uplinks, "INTERFACE=CLASS, repeatable; * and ? match; CLASS tailnet, lan or overlay")
      ->check(check_uplink)
      ->envname("GRANTD_UPLINK");
  command.add_option("--pod-cidr", texts.pod_cidrs, "Range of the cluster's pods, repeatable (default: k3s' 10.42.0.0/16)")
      ->check(check_prefix)
      ->envname("GRANTD_POD_CIDR");
  command
      .add_option("--service-cidr", texts.service_cidrs,
                  "Range of the cluster's services, repeatable (default: k3s' 10.43.0.0/16)")
      ->check(check_prefix)
      ->envname("GRANTD_SERVICE_CIDR");
  command.add_option("--state-dir", settings.state_dir, "What is remembered across restarts (default: /var/lib/grantd)")
      ->envname("GRANTD_STATE_DIR");
}

void add_pin_root(CLI::App& command, Settings& settings) {
  command.add_option("--pin-root", settings.pin_root, "Where maps, programs and links are pinned")
      ->capture_default_str()
      ->envname("GRANTD_PIN_ROOT");
}

CLI::App* add_run(CLI::App& app, Settings& settings, Texts& texts) {
  CLI::App* run = app.add_subcommand("run", "Holds the guests of this node to their Grants, until it is told to stop");
  run->add_option("--manifests", settings.manifests, "Directory of Realms, Grants and Workloads, watched for changes")
      ->required()
      ->envname("GRANTD_MANIFESTS");
  add_node_options(*run, settings, texts);
  add_pin_root(*run, settings);
  run->add_option("--listen", settings.listen, "ADDRESS:PORT of /metrics, /healthz and /readyz; none: not at all")
      ->capture_default_str()
      ->check(check_listen)
      ->envname("GRANTD_LISTEN");
  run->add_option("--stamp-mask", texts.stamp_mask, "Bits of the packet's mark that carry the sender's identity")
      ->capture_default_str()
      ->check(check_mask)
      ->envname("GRANTD_STAMP_MASK");
  run->add_option("--flows-per-grant", settings.flows_per_grant, "Flows that each Grant's own table holds")
      ->capture_default_str()
      ->check(CLI::Range(64U, 1U << 20))
      ->envname("GRANTD_FLOWS_PER_GRANT");
  run->add_option("--attach", texts.attach, "How programs are attached; auto: tcx where the kernel has it")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "tcx", "clsact"}))
      ->envname("GRANTD_ATTACH");
  run->add_flag("--trust-clock", settings.trust_clock, "Enforce dated Grants although the clock is not synchronised")
      ->envname("GRANTD_TRUST_CLOCK");
  run->add_option("--log-format", texts.log_format, "text or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "json"}))
      ->envname("GRANTD_LOG_FORMAT");
  run->add_option("--log-level", settings.log_level, "debug, info, warn or error")
      ->capture_default_str()
      ->check(CLI::IsMember({"debug", "info", "warn", "error"}))
      ->envname("GRANTD_LOG_LEVEL");
  run->footer("example:\n  grantd run --manifests /etc/grantd/manifests --uplink tailscale0=tailnet --uplink 'eth*=lan'\n\n"
              "Flags can stand in the file given by --config (default " + std::string(kDefaultFile) +
              "), in a section [run], and in the environment as GRANTD_...");
  return run;
}

CLI::App* add_check(CLI::App& app, Settings& settings, Texts& texts) {
  CLI::App* check = app.add_subcommand("check", "Reads and compiles manifests as the service would; needs no root");
  check->add_option("PATH", settings.paths, "Files or directories")->required();
  add_node_options(*check, settings, texts);
  check->add_option("--output,-o", texts.output, "table or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"table", "json"}));
  check->footer("exit codes:\n  0  everything is accepted\n  1  something is refused\n  2  wrong usage\n\n"
                "example:\n  grantd check /etc/grantd/manifests");
  return check;
}

Settings finish(Settings settings, const Texts& texts) {
  if (settings.node.empty()) settings.node = host_name();
  if (settings.listen == "none") settings.listen.clear();
  for (const std::string& text : texts.uplinks) settings.uplinks.push_back(uplink_of(text));
  const auto prefixes = [](const std::vector<std::string>& given, const char* by_default) {
    std::vector<IpPrefix> all;
    for (const std::string& text : given.empty() ? std::vector<std::string>{by_default} : given)
      all.push_back(IpPrefix::parse(text).value());
    return all;
  };
  settings.pod_cidrs = prefixes(texts.pod_cidrs, "10.42.0.0/16");
  settings.service_cidrs = prefixes(texts.service_cidrs, "10.43.0.0/16");
  parse_mask(texts.stamp_mask, settings.stamp_mask);
  settings.attach = texts.attach == "tcx"      ? AttachSetting::Tcx
                    : texts.attach == "clsact" ? AttachSetting::Clsact
                                               : AttachSetting::Auto;
  settings.log_format = texts.log_format == "json" ? LogFormat::Json : LogFormat::Text;
  settings.json_output = texts.output == "json";
  return settings;
}

}  // namespace

ParsedSettings parse_settings(int count, const char* const* arguments) {
  ParsedSettings parsed;
  Texts texts;
  CLI::App app{"Holds guest workloads to their Grants, with eBPF", "grantd"};
  app.set_version_flag("--version", "grantd " GRANTD_VERSION);
  app.set_config("--config", kDefaultFile, "File of settings (TOML)");
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::simple);
  CLI::App* run = add_run(app, parsed.settings, texts);
  CLI::App* check = add_check(app, parsed.settings, texts);
  CLI::App* uninstall =
      app.add_subcommand("uninstall", "Removes every program, map and file of grantd; the guests are open then");
  add_pin_root(*uninstall, parsed.settings);
  uninstall->add_option("--state-dir", parsed.settings.state_dir, "What is remembered across restarts")
      ->capture_default_str()
      ->envname("GRANTD_STATE_DIR");
  try {
    app.parse(count, arguments);
  } catch (const CLI::ParseError& error) {
    const bool wrong = error.get_exit_code() != 0;
    app.exit(error);
    parsed.exit_code = wrong ? 2 : 0;
    return parsed;
  }
  parsed.settings = finish(std::move(parsed.settings), texts);
  parsed.settings.command = *run          ? Settings::Command::Run
                            : *check      ? Settings::Command::Check
                                          : Settings::Command::Uninstall;
  return parsed;
}

}  // namespace grantd
