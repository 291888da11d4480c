// The file of settings: which one is read, how strictly, and what is told of what is wrong in it.
#include "tests/unit/settings_fixture.h"

#include <filesystem>
#include <fstream>

namespace grantd {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class SettingsFileTest : public SettingsTest {};

TEST_F(SettingsFileTest, TheFileIsReadStrictly) {
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
TEST_F(SettingsFileTest, CheckLooksAtTheFilesSettingsOfRunToo) {
  file("listen = \"127.0.0.1:9786\"\nattach = \"tcx\"\nkubernetes = true\n");
  EXPECT_EQ(accepted({"check", "a"}).command, Settings::Command::Check);
  file("node = \"a\"\nlisten = \"everywhere\"\n");
  EXPECT_THAT(refused({"check", "a"}),
              AllOf(HasSubstr(".toml:2: listen: listen 'everywhere'"), HasSubstr("accepted: ")));
  file("attach = [\"tcx\", \"clsact\"]\n");
  EXPECT_THAT(refused({"check", "a"}), HasSubstr("a list of 2"));
  EXPECT_EQ(accepted({"uninstall"}).command, Settings::Command::Uninstall) << "nothing keeps it from that";
}

TEST_F(SettingsFileTest, WhatIsWrongInTheFileIsToldWithItsLine) {
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

TEST_F(SettingsFileTest, ValidTomlIsRead) {
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

TEST_F(SettingsFileTest, AFileThatTheEnvironmentNamesIsRead) {
  const std::string named = testing::TempDir() + "grantd-named-" + std::to_string(getpid()) + ".toml";
  std::ofstream(named) << "node = \"of-the-named-file\"\n";
  environment("GRANTD_CONFIG", named);
  EXPECT_EQ(run_with({}).node, "of-the-named-file");
  EXPECT_THAT(run_with({"--config", "/dev/null"}).node, Not(HasSubstr("named"))) << "the flag stands over it";
  std::filesystem::remove(named);
}

TEST_F(SettingsFileTest, FilesThatMayPassForTheUsualOneAreToldToBeNotRead) {
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

TEST_F(SettingsFileTest, AFileThatIsNamedMustBeThere) {
  EXPECT_THAT(refused({"--config", "/no/such/file", "check", "a"}), HasSubstr("/no/such/file"));
  EXPECT_THAT(refused({"check", "a", "--config", "/no/such/file"}), HasSubstr("/no/such/file"));
}

}  // namespace
}  // namespace grantd
