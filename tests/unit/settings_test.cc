// Settings from flags, environment and file: what is taken, what stands over what, what is refused and how.
#include "tests/unit/settings_fixture.h"

namespace grantd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST_F(SettingsTest, DefaultsAreThoseOfTheDesign) {
  const Settings settings = run_with({});
  EXPECT_EQ(settings.command, Settings::Command::Run);
  EXPECT_EQ(settings.manifests, "/m");
  EXPECT_NE(settings.node, "");
  EXPECT_EQ(settings.pin_root, "/sys/fs/bpf/grantd");
  EXPECT_EQ(settings.state_dir, "/var/lib/grantd");
  EXPECT_EQ(settings.listen, "127.0.0.1:9786");
  EXPECT_EQ(settings.stamp_mask, 0xff001fffU);
  EXPECT_EQ(settings.limits.flows_per_grant, 16384U);
  EXPECT_EQ(settings.attach, AttachSetting::Auto);
  EXPECT_EQ(settings.shaper, ShaperSetting::Auto);
  EXPECT_FALSE(settings.trust_clock);
  EXPECT_EQ(settings.log_format, LogFormat::Text);
  EXPECT_EQ(settings.log_level, "info");
  ASSERT_EQ(settings.pod_cidrs.size(), 1U);
  EXPECT_EQ(settings.pod_cidrs[0].text(), "10.42.0.0/16");
  ASSERT_EQ(settings.service_cidrs.size(), 1U);
  EXPECT_EQ(settings.service_cidrs[0].text(), "10.43.0.0/16");
  EXPECT_TRUE(settings.uplinks.empty());
}

TEST_F(SettingsTest, FlagsAreTaken) {
  const Settings settings = run_with({"--node",
                                      "node-a",
                                      "--uplink",
                                      "tailscale0=tailnet",
                                      "--uplink",
                                      "eth*=lan",
                                      "--uplink",
                                      "cni?=overlay",
                                      "--uplink",
                                      "wg9=untrusted",
                                      "--pod-cidr",
                                      "10.1.0.0/16",
                                      "--pod-cidr",
                                      "fd00:1::/56",
                                      "--service-cidr",
                                      "10.2.0.0/16",
                                      "--pin-root",
                                      "/sys/fs/bpf/other",
                                      "--state-dir",
                                      "/srv/grantd",
                                      "--listen",
                                      "[::1]:9000",
                                      "--stamp-mask",
                                      "0x7f001fff",
                                      "--flows-per-grant",
                                      "1024",
                                      "--attach",
                                      "clsact",
                                      "--trust-clock",
                                      "--log-format",
                                      "json",
                                      "--log-level",
                                      "debug"});
  EXPECT_EQ(settings.node, "node-a");
  ASSERT_EQ(settings.uplinks.size(), 4U);
  EXPECT_EQ(settings.uplinks[0].interface_glob, "tailscale0");
  EXPECT_EQ(settings.uplinks[0].uplink_class, UplinkClass::Tailnet);
  EXPECT_EQ(settings.uplinks[1].interface_glob, "eth*");
  EXPECT_EQ(settings.uplinks[1].uplink_class, UplinkClass::Lan);
  EXPECT_EQ(settings.uplinks[2].uplink_class, UplinkClass::Overlay);
  EXPECT_EQ(settings.uplinks[3].uplink_class, UplinkClass::Untrusted);
  ASSERT_EQ(settings.pod_cidrs.size(), 2U);
  EXPECT_EQ(settings.pod_cidrs[1].text(), "fd00:1::/56");
  EXPECT_EQ(settings.service_cidrs[0].text(), "10.2.0.0/16");
  EXPECT_EQ(settings.pin_root, "/sys/fs/bpf/other");
  EXPECT_EQ(settings.state_dir, "/srv/grantd");
  EXPECT_EQ(settings.listen, "[::1]:9000");
  EXPECT_EQ(settings.stamp_mask, 0x7f001fffU);
  EXPECT_EQ(settings.limits.flows_per_grant, 1024U);
  EXPECT_EQ(settings.attach, AttachSetting::Clsact);
  EXPECT_TRUE(settings.trust_clock);
  EXPECT_EQ(settings.log_format, LogFormat::Json);
  EXPECT_EQ(settings.log_level, "debug");
  EXPECT_EQ(run_with({"--attach", "tcx"}).attach, AttachSetting::Tcx);
  EXPECT_EQ(run_with({"--shaper", "htb"}).shaper, ShaperSetting::Htb);
  EXPECT_EQ(run_with({"--shaper", "policer"}).shaper, ShaperSetting::Policer);
  EXPECT_EQ(run_with({"--listen", "none"}).listen, "");
}

TEST_F(SettingsTest, CheckTakesPathsBehindARepeatableFlag) {
  const Settings settings = accepted({"check", "--uplink", "eth0=lan", "a.yaml", "b", "-o", "json"});
  EXPECT_EQ(settings.command, Settings::Command::Check);
  EXPECT_THAT(settings.paths, ElementsAre("a.yaml", "b"));
  EXPECT_EQ(settings.uplinks.size(), 1U);
  EXPECT_TRUE(settings.json_output);
  EXPECT_FALSE(accepted({"check", "a"}).json_output);
}

TEST_F(SettingsTest, UninstallTakesTheSameDirectoriesAsRun) {
  file("pin-root = \"/sys/fs/bpf/other\"\nstate-dir = \"/srv/grantd\"\nmanifests = \"/m\"\n");
  for (const char* command : {"run", "uninstall"}) {
    const Settings settings = accepted({command});
    EXPECT_EQ(settings.pin_root, "/sys/fs/bpf/other") << command;
    EXPECT_EQ(settings.state_dir, "/srv/grantd") << command;
  }
  EXPECT_EQ(accepted({"uninstall"}).command, Settings::Command::Uninstall);
}

TEST_F(SettingsTest, TheFileHoldsEverySetting) {
  file(
      "# a comment\n"
      "manifests = \"/etc/grantd/manifests\"\n"
      "uplink = [\"tailscale0=tailnet\", \"eth*=lan\"]\n"
      "pod-cidr = [\"10.1.0.0/16\"]\n"
      "service-cidr = \"10.2.0.0/16\"\n"
      "stamp-mask = \"0x7f001fff\"\n"
      "flows-per-grant = 1024\n"
      "trust-clock = true\n"
      "listen = \"0.0.0.0:9786\"\n");
  const Settings settings = accepted({"run"});
  EXPECT_EQ(settings.manifests, "/etc/grantd/manifests");
  ASSERT_EQ(settings.uplinks.size(), 2U);
  EXPECT_EQ(settings.uplinks[1].interface_glob, "eth*");
  EXPECT_EQ(settings.pod_cidrs[0].text(), "10.1.0.0/16");
  EXPECT_EQ(settings.service_cidrs[0].text(), "10.2.0.0/16");
  EXPECT_EQ(settings.stamp_mask, 0x7f001fffU);
  EXPECT_EQ(settings.limits.flows_per_grant, 1024U);
  EXPECT_TRUE(settings.trust_clock);
  EXPECT_EQ(settings.listen, "0.0.0.0:9786");
  EXPECT_EQ(accepted({"check", "a"}).uplinks.size(), 2U) << "check reads it too, and passes over what it has not";
}

TEST_F(SettingsTest, TheEnvironmentHoldsEverySetting) {
  environment("GRANTD_MANIFESTS", "/etc/grantd/manifests");
  environment("GRANTD_UPLINK", "tailscale0=tailnet,eth*=lan");
  environment("GRANTD_FLOWS_PER_GRANT", "1024");
  environment("GRANTD_TRUST_CLOCK", "true");
  const Settings settings = accepted({"run"});
  EXPECT_EQ(settings.manifests, "/etc/grantd/manifests");
  ASSERT_EQ(settings.uplinks.size(), 2U);
  EXPECT_EQ(settings.uplinks[0].uplink_class, UplinkClass::Tailnet);
  EXPECT_EQ(settings.limits.flows_per_grant, 1024U);
  EXPECT_TRUE(settings.trust_clock);
}

TEST_F(SettingsTest, FlagsStandOverTheEnvironmentAndThatOverTheFile) {
  file("node = \"of-the-file\"\nuplink = [\"f=lan\"]\nlog-level = \"error\"\n");
  EXPECT_EQ(run_with({}).node, "of-the-file");
  environment("GRANTD_NODE", "of-the-environment");
  environment("GRANTD_UPLINK", "e=lan");
  EXPECT_EQ(run_with({}).node, "of-the-environment");
  EXPECT_EQ(run_with({}).uplinks.at(0).interface_glob, "e");
  EXPECT_EQ(run_with({}).uplinks.size(), 1U);
  EXPECT_EQ(run_with({"--node", "of-the-flag"}).node, "of-the-flag");
  const Settings settings = run_with({"--uplink", "c=lan"});
  ASSERT_EQ(settings.uplinks.size(), 1U);
  EXPECT_EQ(settings.uplinks[0].interface_glob, "c");
  EXPECT_EQ(settings.log_level, "error");
}

TEST_F(SettingsTest, LimitsOfTheNodeAreThoseOfTheDesignUntilTheyAreSet) {
  const Limits limits = run_with({}).limits;
  EXPECT_EQ(limits.grants, 4096U);
  EXPECT_EQ(limits.endpoints, 16384U);
  EXPECT_EQ(limits.rules, 262144U);
  EXPECT_EQ(limits.prefixes, 327680U);
  EXPECT_EQ(limits.identities, 8191U);
  EXPECT_EQ(limits.flows, 67108864U);
  file("max-rules = 3\nmax-identities = 4\nflows-per-grant = 100\n");
  environment("GRANTD_MAX_REALM_PREFIXES", "5");
  environment("GRANTD_MAX_FLOWS", "100");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{"run", "--manifests", "/m"}, std::vector<std::string>{"check", "a"}}) {
    std::vector<std::string> arguments = command;
    arguments.insert(arguments.end(), {"--max-grants", "1", "--max-endpoints", "2"});
    const Limits set = accepted(arguments).limits;
    EXPECT_EQ(set.grants, 1U) << command[0];
    EXPECT_EQ(set.endpoints, 2U);
    EXPECT_EQ(set.rules, 3U);
    EXPECT_EQ(set.identities, 4U);
    EXPECT_EQ(set.prefixes, 5U);
    EXPECT_EQ(set.flows, 100U);
    EXPECT_EQ(set.flows_per_grant, 100U);
  }
}

TEST_F(SettingsTest, ASumOfFlowsThatHoldsNoTableIsRefused) {
  EXPECT_EQ(run_with({"--max-flows", "1024", "--flows-per-grant", "1024"}).limits.flows, 1024U);
  EXPECT_THAT(refused_run({"--max-flows", "1023", "--flows-per-grant", "1024"}),
              AllOf(HasSubstr("--max-flows"), HasSubstr("1023"), HasSubstr("--flows-per-grant 1024")));
  environment("GRANTD_MAX_FLOWS", "1023");  // of a command that is not called
  EXPECT_EQ(accepted({"uninstall"}).command, Settings::Command::Uninstall);
}

TEST_F(SettingsTest, WrongValuesAreNamedWithWhatIsAccepted) {
  const struct {
    std::vector<std::string> arguments;
    const char *value, *accepted;
  } cases[] = {
      {{"--uplink", "eth0"}, "'eth0'", "INTERFACE=CLASS"},
      {{"--uplink", "eth0=wan"}, "'eth0=wan'", "tailnet, lan, overlay or untrusted"},
      {{"--uplink", "=lan"}, "'=lan'", "INTERFACE=CLASS"},
      {{"--pod-cidr", "10.42.0.1/16"}, "10.42.0.1/16", "10.42.0.0/16"},
      {{"--service-cidr", "ten"}, "'ten'", ""},
      {{"--listen", "9786"}, "'9786'", "IPv4:PORT"},
      {{"--listen", "127.0.0.1:70000"}, "70000", "IPv4:PORT"},
      {{"--listen", "example.com:9786"}, "example.com", "IPv4:PORT"},
      {{"--listen", "::1:9786"}, "::1:9786", "[IPv6]:PORT"},
      {{"--stamp-mask", "0xff00ffffff"}, "0xff00ffffff", "32 bits"},
      {{"--stamp-mask", "mask"}, "'mask'", "32 bits"},
      {{"--stamp-mask", "0xff000fff"}, "0xff000fff", "13 contiguous bits"},
      {{"--stamp-mask", "0x98001fff"}, "0x98001fff", "tag"},
      {{"--attach", "xdp"}, "xdp", "clsact"},
      {{"--shaper", "fq"}, "fq", "policer"},
      {{"--flows-per-grant", "63"}, "63", "64 to 1048576"},
      {{"--flows-per-grant", "many"}, "many", "64 to 1048576"},
      {{"--max-grants", "0"}, "0", "1 to 8190"},
      {{"--max-grants", "8191"}, "8191", "1 to 8190"},
      {{"--max-endpoints", "262145"}, "262145", "1 to 262144"},
      {{"--max-rules", "-1"}, "-1", "1 to 4194304"},
      {{"--max-rules", "4194305"}, "4194305", "1 to 4194304"},
      {{"--max-realm-prefixes", "many"}, "many", "1 to 1048576"},
      {{"--max-identities", "8192"}, "8192", "2 to 8191"},
      {{"--max-flows", "63"}, "63", "64 to 268435456"},
      {{"--log-format", "xml"}, "xml", "json"},
      {{"--log-level", "loud"}, "loud", "warn"},
      {{"--pin-root", "grantd"}, "'grantd'", "absolute"},
      {{"--pin-root", "/" + std::string(200, 'x')}, "201 bytes", "at most 200"},
      {{"--state-dir", ""}, "''", "absolute"},
      {{"--node", "Node A"}, "'Node A'", "lower-case"},
  };
  for (const auto& each : cases)
    EXPECT_THAT(refused_run(each.arguments),
                AllOf(HasSubstr(each.arguments[0]), HasSubstr(each.value), HasSubstr(each.accepted)));
}

TEST_F(SettingsTest, AWrongVariableIsNamed) {
  const struct {
    const char *name, *value, *said, *accepted;
  } cases[] = {
      {"GRANTD_MAX_GRANTS", "abc", "'abc'", "1 to 8190"},
      {"GRANTD_MAX_GRANTS", "", "''", "1 to 8190"},
      {"GRANTD_LISTEN", "foo", "'foo'", "IPv4:PORT"},
      {"GRANTD_UPLINK", "a=lan,b", "'b'", "INTERFACE=CLASS"},
      {"GRANTD_TRUST_CLOCK", "maybe", "'maybe'", "true"},
      {"GRANTD_MAX_FLOWS", "64", "64", "--flows-per-grant (default) 16384"},
      {"GRANTD_KUBECONFIG", "/k", "'/k'", "only with --kubernetes"},
      {"GRANTD_CNI_BIN_DIR", "/b", "--cni-conf-dir", "both or neither"},
      {"GRANTD_CONFIG", "/no/such/file", "'/no/such/file'", "a file of settings"},
      {"GRANTD_CONFIG", "/", "'/'", "a file of settings"},
  };
  for (const auto& each : cases) {
    environment(each.name, each.value);
    EXPECT_THAT(refused_run({}), AllOf(HasSubstr(std::string(each.name) + ": "), HasSubstr(each.said),
                                       HasSubstr("accepted: "), HasSubstr(each.accepted)));
    unsetenv(each.name);
  }
}

TEST_F(SettingsTest, AVariableOfAnotherCommandIsPassedOver) {
  environment("GRANTD_LISTEN", "foo");
  EXPECT_EQ(accepted({"check", "a"}).command, Settings::Command::Check);
  EXPECT_THAT(refused_run({}), HasSubstr("GRANTD_LISTEN"));
}

TEST_F(SettingsTest, UnknownVariablesAreNamedAndThoseOfAServiceAreNot) {
  environment("GRANTD_LISTN", "x");
  environment("GRANTD_NODE", "node-a");
  environment("GRANTD_CONFIG", "/dev/null");
  EXPECT_THAT(parse({"check", "a"}).warnings, ElementsAre(AllOf(HasSubstr("GRANTD_LISTN"), HasSubstr("accepted: "))));
  unsetenv("GRANTD_LISTN");
  for (const char* name : {"GRANTD_SERVICE_HOST", "GRANTD_PORT", "GRANTD_SERVICE_PORT_METRICS",
                           "GRANTD_PORT_9786_TCP_ADDR", "GRANTD_METRICS_SERVICE_HOST", "GRANTD_METRICS_PORT"})
    environment(name, "tcp://10.43.0.9:9786");
  EXPECT_EQ(parse({"check", "a"}).warnings.size(), 6U) << "outside of a pod nobody but the administrator sets them";
  environment("KUBERNETES_SERVICE_HOST", "10.43.0.1");
  EXPECT_THAT(parse({"check", "a"}).warnings, IsEmpty());
  environment("GRANTD_LISTN", "x");
  EXPECT_THAT(parse({"check", "a"}).warnings, SizeIs(1));
}

TEST_F(SettingsTest, WhatAFlagAcceptsIsSaid) {
  EXPECT_THAT(refused_run({"--trust-clock=maybe"}), AllOf(HasSubstr("'maybe'"), HasSubstr("accepted: true")));
  EXPECT_THAT(refused_run({"--pod-cidr", "foo"}), AllOf(HasSubstr("'foo'"), HasSubstr("accepted: "), HasSubstr("/16")));
  EXPECT_THAT(refused_run({"--node", "a", "--node", "b"}),
              AllOf(HasSubstr("--node"), HasSubstr("'a', 'b'"), HasSubstr("accepted: once")));
  EXPECT_THAT(refused_run({"--kubeconfig", "/k"}), Not(HasSubstr("both or neither")));
  EXPECT_THAT(refused_run({"--config", "/no/such/file"}),
              AllOf(HasSubstr("--config: "), HasSubstr("No such file"), HasSubstr("accepted: a file of settings")));
}

TEST_F(SettingsTest, WrongUsageIsTold) {
  EXPECT_THAT(refused({}), HasSubstr("run, check or uninstall"));
  EXPECT_THAT(refused({"run"}), HasSubstr("--manifests"));
  EXPECT_THAT(refused({"check"}), HasSubstr("PATH"));
  EXPECT_THAT(refused({"start"}), AllOf(HasSubstr("'start'"), HasSubstr("run, check or uninstall")));
  EXPECT_THAT(refused_run({"--no-such-flag"}), HasSubstr("--no-such-flag"));
  EXPECT_THAT(refused({"uninstall", "--manifests", "/m"}), HasSubstr("--manifests"));
}

TEST_F(SettingsTest, ThereIsExactlyOneSource) {
  const Settings settings = accepted({"run", "--kubernetes", "--kubeconfig", "/k", "--guest-namespaces", "visitor-*"});
  EXPECT_TRUE(settings.kubernetes);
  EXPECT_EQ(settings.kubeconfig, "/k");
  EXPECT_EQ(settings.guest_namespaces, "visitor-*");
  EXPECT_EQ(accepted({"run", "--kubernetes"}).guest_namespaces, "guest-*");
  EXPECT_THAT(refused({"run"}), AllOf(HasSubstr("none given"), HasSubstr("--manifests"), HasSubstr("--kubernetes")));
  EXPECT_THAT(refused_run({"--kubernetes"}), AllOf(HasSubstr("both given"), HasSubstr("--manifests")));
  EXPECT_THAT(refused_run({"--kubeconfig", "/k"}), HasSubstr("without --kubernetes"));
  EXPECT_THAT(refused({"run", "--kubernetes", "--guest-namespaces", "*"}), HasSubstr("one * stands for the realm"));
}

TEST_F(SettingsTest, HelpNamesEachSettingAndAnExample) {
  EXPECT_EQ(parse({"run", "--help"}).exit_code, 0);
  for (const char* flag :
       {"--manifests", "--node", "--uplink", "--pod-cidr", "--service-cidr", "--pin-root", "--state-dir", "--listen",
        "--stamp-mask", "--flows-per-grant", "--max-grants", "--max-flows", "--attach", "--shaper", "--trust-clock",
        "--log-format", "--log-level", "example:"})
    EXPECT_THAT(said_, HasSubstr(flag));
  for (const char* command : {"check", "uninstall"}) {
    EXPECT_EQ(parse({command, "--help"}).exit_code, 0);
    EXPECT_THAT(said_, AllOf(HasSubstr("example:"), HasSubstr("exit codes:"))) << command;
  }
  EXPECT_EQ(parse({"--help"}).exit_code, 0);
  EXPECT_THAT(said_, AllOf(HasSubstr("run"), HasSubstr("check"), HasSubstr("uninstall"), HasSubstr("GRANTD_PIN_ROOT")));
  EXPECT_EQ(parse({"--version"}).exit_code, 0);
  EXPECT_THAT(said_, HasSubstr("grantd 0."));
}

}  // namespace
}  // namespace grantd
