// Settings from flags, environment and file: what is taken, what stands over what, what is refused and how.
#include "agent/settings/settings.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace grantd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

class SettingsTest : public testing::Test {
 protected:
  ~SettingsTest() override {
    for (const std::string& each : environment_) unsetenv(each.c_str());
    std::filesystem::remove(file_);
  }

  void environment(const std::string& name, const std::string& value) {
    setenv(name.c_str(), value.c_str(), 1);
    environment_.push_back(name);
  }
  void file(const std::string& text) { std::ofstream(file_) << text; }

  ParsedSettings parse(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "grantd");
    if (std::filesystem::exists(file_)) arguments.insert(arguments.begin() + 1, {"--config", file_});
    std::vector<const char*> pointers;
    for (const std::string& each : arguments) pointers.push_back(each.c_str());
    testing::internal::CaptureStdout();
    testing::internal::CaptureStderr();
    ParsedSettings parsed =
        parse_settings(static_cast<int>(pointers.size()), pointers.data(), directory_.path("grantd.toml").c_str());
    said_ = testing::internal::GetCapturedStdout();
    complained_ = testing::internal::GetCapturedStderr();
    return parsed;
  }

  Settings accepted(const std::vector<std::string>& arguments) {
    const ParsedSettings parsed = parse(arguments);
    EXPECT_EQ(parsed.exit_code, -1) << complained_;
    return parsed.settings;
  }
  Settings run_with(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", "--manifests", "/m"});
    return accepted(arguments);
  }
  // The message; "" where nothing was refused.
  std::string refused(const std::vector<std::string>& arguments) {
    const ParsedSettings parsed = parse(arguments);
    EXPECT_EQ(parsed.exit_code, 2);
    return parsed.exit_code == 2 ? complained_ : "";
  }
  std::string refused_run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {"run", "--manifests", "/m"});
    return refused(arguments);
  }

  std::string said_, complained_;
  TemporaryDirectory directory_;  // of the usual file

 private:
  std::vector<std::string> environment_;
  const std::string file_ = testing::TempDir() + "grantd-settings-" + std::to_string(getpid()) + ".toml";
};

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

TEST_F(SettingsTest, TheFileIsReadStrictly) {
  const struct {
    const char *text, *message;
  } cases[] = {
      {"nodde = \"a\"\n", "no setting is named 'nodde'"},
      {"node = \"a\"\nlog-level = \"info\"\nnode = \"b\"\n", ":3: 'node = \"b\"': "},
      {"[run]\nnode = \"a\"\n", "section 'run'"},
      {"stamp-mask = \"0x1\"\n", "13 contiguous bits"},
      {"uplink = [\"eth0=wan\"]\n", "eth0=wan"},
      {"help = true\n", "no setting is named 'help'"},
      {"kubernetes = true\n", "both given"},
  };
  for (const auto& each : cases) {
    file(each.text);
    EXPECT_THAT(refused_run({}), HasSubstr(each.message)) << each.text;
  }
}

// One error, with the file, the line, the value and what is accepted.
TEST_F(SettingsTest, WhatIsWrongInTheFileIsToldWithItsLine) {
  const struct {
    const char *text, *line, *value, *accepted;
  } cases[] = {
      {"# a\nuplink = [\"uplink0=lan\", \"tail0=tailnet\"\n", ".toml:2: ", "uplink0=lan", "TOML"},
      {"uplink = [\"uplink0=lan\", \"tail0=tailnet\"\nlisten = \"none\"\n", ".toml:2: ", "listen = \"none\"", "TOML"},
      {"uplink = [\"a=lan\" \"b=lan\"]\n", ".toml:1: ", "\"a=lan\" \"b=lan\"", "TOML"},
      {"manifests = \"man\n", ".toml:1: ", "manifests = \"man", "TOML"},
      {"log-level = \"info\"\nnode\n", ".toml:2: ", "'node'", "NAME = VALUE"},
      {"node = a\n", ".toml:1: ", "node = a", "TOML"},
      {"\nmax-grants = \"many\"\n", ".toml:2: max-grants: 'many': ", "many", "whole number from 1 to 8190"},
      {"max-grants = 0\n", ".toml:1: max-grants: ", "'0'", "1 to 8190"},
      {"max-grants = 1.5\n", ".toml:1: max-grants: ", "floating-point", "whole number"},
      {"node = [\"a\", \"b\"]\n", ".toml:1: node: ", "list of 2", "one value"},
      {"uplink = [\"a=lan\", [\"b=lan\"]]\n", ".toml:1: uplink: ", "array in the list", "text"},
      {"pod-cidr = []\n", ".toml:1: pod-cidr: ", "empty list", "no such entry"},
      {"trust-clock = \"maybe\"\n", ".toml:1: trust-clock: ", "'maybe'", "true"},
      {"log-level = \"info\"\n\nnodde = \"a\"\n", ".toml:3: ", "'nodde'", "names of flags"},
      {"max-flows = 64\n", ".toml:1: max-flows: ", "64", "--flows-per-grant (default) 16384"},
      {"kubernetes = true\n", ".toml:1: kubernetes", "both given", "either"},
  };
  for (const auto& each : cases) {
    file(each.text);
    EXPECT_THAT(refused_run({}), AllOf(HasSubstr("grantd-settings-"), HasSubstr(each.line), HasSubstr(each.value),
                                       HasSubstr("accepted: "), HasSubstr(each.accepted)))
        << each.text;
  }
}

TEST_F(SettingsTest, ValidTomlIsRead) {
  file(
      "uplink = [  # of this node\n"
      "  \"tailscale0=tailnet\",  # a comment\n"
      "  'eth*=lan',\n"
      "]\n"
      "stamp-mask = 0x7f001fff\n"
      "\"log-level\" = \"warn\"  # quoted\n"
      "state-dir = \"/srv/#1, and 2\"\n");
  const Settings settings = run_with({});
  ASSERT_EQ(settings.uplinks.size(), 2U);
  EXPECT_EQ(settings.uplinks[1].interface_glob, "eth*");
  EXPECT_EQ(settings.stamp_mask, 0x7f001fffU);
  EXPECT_EQ(settings.log_level, "warn");
  EXPECT_EQ(settings.state_dir, "/srv/#1, and 2");
  file("");
  EXPECT_EQ(run_with({}).log_level, "info");
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

TEST_F(SettingsTest, AFileThatTheEnvironmentNamesIsRead) {
  const std::string named = testing::TempDir() + "grantd-named-" + std::to_string(getpid()) + ".toml";
  std::ofstream(named) << "node = \"of-the-named-file\"\n";
  environment("GRANTD_CONFIG", named);
  EXPECT_EQ(run_with({}).node, "of-the-named-file");
  EXPECT_THAT(run_with({"--config", "/dev/null"}).node, Not(HasSubstr("named"))) << "the flag stands over it";
  std::filesystem::remove(named);
}

TEST_F(SettingsTest, FilesThatMayPassForTheUsualOneAreToldToBeNotRead) {
  directory_.write("grantd.toml", "node = \"usual\"\n");
  for (const char* name : {"grantd.toml~", "grantd.toml.bak", ".grantd.toml.swp", "grantd.toml.dpkg-old", "kubeconfig"})
    directory_.write(name, "node = \"left-behind\"\n");
  std::filesystem::create_directory(directory_.path("manifests.conf"));
  EXPECT_THAT(parse({"check", "a"}).warnings, IsEmpty());
  for (const char* name : {"x.conf", "grantd.yaml", "more.toml"}) directory_.write(name, "node = \"other\"\n");
  const auto told = [](const std::string& name) {
    return AllOf(HasSubstr("/" + name + " is not read"), HasSubstr("accepted: "), HasSubstr("/grantd.toml"));
  };
  EXPECT_THAT(parse({"check", "a"}).warnings, ElementsAre(told("grantd.yaml"), told("more.toml"), told("x.conf")));
  EXPECT_EQ(run_with({}).node, "usual");
  environment("GRANTD_CONFIG", directory_.path("more.toml"));
  EXPECT_THAT(parse({"check", "a"}).warnings, IsEmpty()) << "who names one knows";
  EXPECT_EQ(run_with({}).node, "other");
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

TEST_F(SettingsTest, AFileThatIsNamedMustBeThere) {
  EXPECT_THAT(refused({"--config", "/no/such/file", "check", "a"}), HasSubstr("/no/such/file"));
  EXPECT_THAT(refused({"check", "a", "--config", "/no/such/file"}), HasSubstr("/no/such/file"));
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
