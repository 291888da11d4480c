// What a runtime asks of the plugin is read completely, or refused with what is wrong.
#include "agent/cni/decide.h"
#include "agent/cni/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace grantd {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::UnorderedElementsAre;

// What Debian's bridge plugin answers: the bridge, the host's side, the guest's side.
json bridge_result() {
  return json::parse(R"({"cniVersion": "1.0.0",
    "interfaces": [{"name": "cni0", "mac": "02:00:00:00:00:01"}, {"name": "veth1", "mac": "02:00:00:00:00:02"},
                   {"name": "eth0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/cni-1"}],
    "ips": [{"address": "10.42.0.7/24", "gateway": "10.42.0.1", "interface": 2}, {"address": "fd00::7/64", "interface": 2}],
    "routes": [{"dst": "0.0.0.0/0"}], "dns": {}})");
}

json config() {
  return {{"cniVersion", "1.0.0"}, {"name", "cbr0"}, {"type", "grantd-cni"}, {"prevResult", bridge_result()}};
}

Environment environment(const std::string& command = "ADD") {
  return {{"CNI_COMMAND", command},
          {"CNI_CONTAINERID", "c0ffee"},
          {"CNI_NETNS", "/run/netns/cni-1"},
          {"CNI_IFNAME", "eth0"},
          {"CNI_ARGS",
           "IgnoreUnknown=1;K8S_POD_NAMESPACE=guest-bob;K8S_POD_NAME=web;K8S_POD_INFRA_CONTAINER_ID=c0ffee;"
           "K8S_POD_UID=0a1b"}};
}

CniRequest read(const json& config, const Environment& environment) {
  const auto read = read_request(environment, config.dump());
  if (const auto* failure = std::get_if<CniFailure>(&read)) {
    ADD_FAILURE() << failure->message << ": " << failure->details;
    return {};
  }
  return std::get<CniRequest>(read);
}

// "CODE MESSAGE: DETAILS"; "" where it is accepted.
std::string refused(std::string_view config, const Environment& environment) {
  const auto read = read_request(environment, config);
  const auto* failure = std::get_if<CniFailure>(&read);
  if (!failure) return "";
  return std::to_string(static_cast<int>(failure->code)) + " " + failure->message + ": " + failure->details;
}
std::string refused(const json& config, const Environment& environment = grantd::environment()) {
  return refused(std::string_view(config.dump()), environment);
}

TEST(CniRequest, IsReadCompletely) {
  json given = config();
  given.update({{"pinRoot", "/sys/fs/bpf/other"},
                {"stateDir", "/state"},
                {"recordDir", "/records"},
                {"namespacePattern", "visitor-*"},
                {"attach", "clsact"},
                {"refuseUnknown", true},
                {"ordinaryNamespaces", {"kube-system", "monitoring"}}});
  const CniRequest request = read(given, environment());
  EXPECT_EQ(request.command, CniCommand::Add);
  EXPECT_EQ(request.cni_version, "1.0.0");
  EXPECT_EQ(request.network, "cbr0");
  EXPECT_EQ(request.container_id, "c0ffee");
  EXPECT_EQ(request.ifname, "eth0");
  EXPECT_EQ(request.netns, "/run/netns/cni-1");
  EXPECT_EQ(request.pod_namespace, "guest-bob");
  EXPECT_EQ(request.pod_name, "web");
  EXPECT_EQ(request.pod_uid, "0a1b");
  EXPECT_EQ(request.settings.pin_root, "/sys/fs/bpf/other");
  EXPECT_EQ(request.settings.state_dir, "/state");
  EXPECT_EQ(request.settings.record_dir, "/records");
  EXPECT_EQ(request.settings.namespace_pattern, "visitor-*");
  EXPECT_EQ(request.settings.attach, "clsact");
  EXPECT_TRUE(request.settings.refuse_unknown);
  EXPECT_THAT(request.settings.ordinary, UnorderedElementsAre("kube-system", "monitoring"));
}

TEST(CniRequest, HasSafeDefaults) {
  const CniRequest request = read(config(), environment());
  EXPECT_EQ(request.settings.pin_root, "/sys/fs/bpf/grantd");
  EXPECT_EQ(request.settings.state_dir, "/var/lib/grantd");
  EXPECT_EQ(request.settings.record_dir, "/run/grantd/cni");
  EXPECT_EQ(request.settings.namespace_pattern, "guest-*");
  EXPECT_FALSE(request.settings.refuse_unknown);
}

TEST(CniRequest, ThePreviousResultPassesOnUnchanged) {
  EXPECT_EQ(*read(config(), environment()).previous, bridge_result());
  // The specification wants the version of the configuration.
  json old = config();
  old["cniVersion"] = "0.4.0";
  json expected = bridge_result();
  expected["cniVersion"] = "0.4.0";
  EXPECT_EQ(*read(old, environment()).previous, expected);
}

TEST(CniRequest, WithoutAPreviousResultIsRefused) {
  json without = config();
  without.erase("prevResult");
  for (const char* command : {"ADD", "CHECK"})
    EXPECT_THAT(refused(without, environment(command)), HasSubstr("7 the configuration has no prevResult"));
  EXPECT_EQ(refused(without, environment("DEL")), "");
}

TEST(CniRequest, WhatIsDamagedIsRefusedByName) {
  EXPECT_THAT(refused(std::string_view("{\"cniVersion\": \"1.0.0\", "), environment()), HasSubstr("6 "));
  EXPECT_THAT(refused(std::string_view("[]"), environment()), HasSubstr("6 "));
  const auto with = [](const char* name, json value) {
    json changed = config();
    changed[name] = std::move(value);
    return refused(changed);
  };
  EXPECT_THAT(with("cniVersion", "0.2.0"), HasSubstr("1 cniVersion '0.2.0': accepted: 0.3.0"));
  EXPECT_THAT(with("cniVersion", 1), HasSubstr("1 cniVersion"));
  EXPECT_THAT(with("name", ""), HasSubstr("7 the configuration names no network"));
  EXPECT_THAT(with("pinRoot", "relative"), HasSubstr("7 setting pinRoot: accepted: an absolute path"));
  EXPECT_THAT(with("stateDir", 7), HasSubstr("7 setting stateDir"));
  EXPECT_THAT(with("namespacePattern", ""), HasSubstr("7 setting namespacePattern"));
  EXPECT_THAT(with("attach", "xdp"), HasSubstr("7 setting attach: accepted: auto, tcx or clsact"));
  EXPECT_THAT(with("refuseUnknown", "yes"), HasSubstr("7 setting refuseUnknown"));
  EXPECT_THAT(with("ordinaryNamespaces", {1}), HasSubstr("7 setting ordinaryNamespaces"));
  EXPECT_THAT(with("prevResult", {1}), HasSubstr("7 the configuration has no prevResult"));
}

TEST(CniRequest, TheEnvironmentIsChecked) {
  const auto with = [](const char* name, const char* value) {
    Environment changed = environment();
    changed[name] = value;
    return refused(config(), changed);
  };
  EXPECT_EQ(with("CNI_ARGS", ""), "");
  EXPECT_THAT(with("CNI_COMMAND", "add"), HasSubstr("4 CNI_COMMAND 'add'"));
  EXPECT_THAT(with("CNI_CONTAINERID", "../x"), HasSubstr("4 CNI_CONTAINERID '../x'"));
  EXPECT_THAT(with("CNI_IFNAME", "eth0/x"), HasSubstr("4 CNI_IFNAME 'eth0/x'"));
  EXPECT_THAT(with("CNI_NETNS", ""), HasSubstr("4 CNI_NETNS ''"));
  EXPECT_THAT(with("CNI_ARGS", "K8S_POD_NAMESPACE"), HasSubstr("4 CNI_ARGS 'K8S_POD_NAMESPACE'"));
  // Which of the two would be the guest's?
  EXPECT_THAT(with("CNI_ARGS", "K8S_POD_NAMESPACE=default;K8S_POD_NAMESPACE=guest-bob"), HasSubstr("each key once"));
  Environment none = environment("DEL");
  none.erase("CNI_NETNS");  // a network namespace that is gone already
  EXPECT_EQ(refused(config(), none), "");
}

TEST(CniRequest, GarbageCollectionTellsWhatIsInUse) {
  const json valid = {{{"containerID", "c0ffee"}, {"ifname", "eth0"}}, {{"containerID", "beef"}, {"ifname", "net1"}}};
  json given = {{"cniVersion", "1.1.0"}, {"name", "cbr0"}};
  const Environment collect = {{"CNI_COMMAND", "GC"}};
  EXPECT_THAT(refused(given, collect), HasSubstr("7 cni.dev/valid-attachments is no list"));
  for (const char* name : {"cni.dev/valid-attachments", "cni.dev/attachments"}) {
    json with = given;
    with[name] = valid;
    EXPECT_THAT(read(with, collect).valid, UnorderedElementsAre(Pair("c0ffee", "eth0"), Pair("beef", "net1")));
    with[name] = nullptr;
    EXPECT_THAT(read(with, collect).valid, IsEmpty());
    with[name] = {{{"containerID", "c0ffee"}}};
    EXPECT_THAT(refused(with, collect), HasSubstr("accepted: objects with containerID and ifname"));
  }
}

TEST(CniRequest, NewCommandsNeedTheNewVersion) {
  json given = {{"cniVersion", "1.0.0"}, {"name", "cbr0"}, {"cni.dev/valid-attachments", json::array()}};
  for (const char* command : {"GC", "STATUS"}) EXPECT_THAT(refused(given, {{"CNI_COMMAND", command}}), HasSubstr("1 "));
  given["cniVersion"] = "1.1.0";
  for (const char* command : {"GC", "STATUS"}) EXPECT_EQ(refused(given, {{"CNI_COMMAND", command}}), "");
}

TEST(CniRequest, VersionNeedsNothing) {
  EXPECT_EQ(refused(std::string_view(""), {{"CNI_COMMAND", "VERSION"}}), "");
  EXPECT_EQ(read({{"cniVersion", "0.4.0"}}, {{"CNI_COMMAND", "VERSION"}}).cni_version, "0.4.0");
}

TEST(CniRequest, AddressesAreThoseOfTheGuestsSide) {
  json given = config();
  given["prevResult"]["ips"].push_back({{"address", "10.42.0.1/24"}, {"interface", 0}});  // the bridge's
  const auto found = read_result(read(given, environment()));
  ASSERT_TRUE(std::holds_alternative<ResultInterface>(found));
  EXPECT_EQ(std::get<ResultInterface>(found).mac, "02:00:00:00:00:03");
  EXPECT_THAT(std::get<ResultInterface>(found).addresses,
              ElementsAre(IpAddress::parse("10.42.0.7").value(), IpAddress::parse("fd00::7").value()));
}

TEST(CniRequest, AResultThatHidesAnInterfaceIsRefused) {
  const auto refused_result = [](const json& result) -> std::string {
    json given = config();
    given["prevResult"] = result;
    const auto found = read_result(read(given, environment()));
    const auto* failure = std::get_if<CniFailure>(&found);
    return failure ? failure->message : "";
  };
  EXPECT_EQ(refused_result(bridge_result()), "");
  json second = bridge_result();
  second["interfaces"].push_back({{"name", "net1"}, {"sandbox", "/run/netns/cni-1"}});
  EXPECT_THAT(refused_result(second), HasSubstr("interface 'net1' in the guest's network namespace"));
  json none = bridge_result();
  none["interfaces"].erase(2);
  EXPECT_THAT(refused_result(none), HasSubstr("no interface 'eth0'"));
  json wrong = bridge_result();
  wrong["ips"][0]["address"] = "10.42.0.700/24";
  EXPECT_THAT(refused_result(wrong), HasSubstr("address '10.42.0.700/24'"));
  EXPECT_THAT(refused_result(json::object()), HasSubstr("'interfaces' is no list"));
}

using Kind = CniDecision::Kind;

TEST(CniDecision, TheNameOrTheRecordMakesAGuest) {
  const Result<std::optional<GuestNamespaces>> recorded{GuestNamespaces{"visitor-*", {"labelled"}, {"monitoring"}}};
  const PluginSettings settings;
  for (const char* guest : {"guest-bob", "visitor-eve", "labelled"})
    EXPECT_EQ(decide(settings, {guest}, recorded, true).kind, Kind::Guest) << guest;
  for (const char* ordinary : {"default", "kube-system", "monitoring", "my-guest-bob", ""})
    EXPECT_EQ(decide(settings, {ordinary}, recorded, true).kind, Kind::Ordinary) << ordinary;
  // As for the agent, to which it is no guest's: there is no realm in its name.
  const Result<std::optional<GuestNamespaces>> without_dash{GuestNamespaces{"tenant*", {}, {}}};
  EXPECT_EQ(decide(settings, {"tenant"}, without_dash, true).kind, Kind::Ordinary);
  EXPECT_EQ(decide(settings, {"tenant1"}, without_dash, true).kind, Kind::Guest);
  // After a boot, before the agent has ever run.
  const Result<std::optional<GuestNamespaces>> nothing{std::optional<GuestNamespaces>()};
  EXPECT_EQ(decide(settings, {"guest-bob"}, nothing, true).kind, Kind::Guest);
  EXPECT_EQ(decide(settings, {"labelled"}, nothing, true).kind, Kind::Ordinary);
}

TEST(CniDecision, APodThatWasAGuestIsOneToItsEnd) {
  const Result<std::optional<GuestNamespaces>> recorded{
      GuestNamespaces{"guest-*", {}, {"team-a"}, {{"uid-1", "team-a/web"}}}};
  const PluginSettings settings;
  EXPECT_EQ(decide(settings, {"team-a", "web", "uid-1"}, recorded, true).kind, Kind::Guest);
  EXPECT_EQ(decide(settings, {"team-a", "web", "uid-2"}, recorded, true).kind, Kind::Ordinary) << "another by its name";
  EXPECT_EQ(decide(settings, {"team-a", "web"}, recorded, true).kind, Kind::Guest) << "it may be";
  EXPECT_EQ(decide(settings, {"team-a", "other"}, recorded, true).kind, Kind::Ordinary);
}

TEST(CniDecision, UnknownOnesAreRefusedWhereThatIsSet) {
  const Result<std::optional<GuestNamespaces>> recorded{GuestNamespaces{"guest-*", {"labelled"}, {"monitoring"}}};
  PluginSettings settings;
  settings.refuse_unknown = true;
  EXPECT_EQ(decide(settings, {"new"}, recorded, true).kind, Kind::Unknown);
  EXPECT_EQ(decide(settings, {""}, recorded, true).kind, Kind::Unknown);
  EXPECT_EQ(decide(settings, {"labelled"}, recorded, true).kind, Kind::Guest);
  for (const char* ordinary : {"kube-system", "monitoring"})
    EXPECT_EQ(decide(settings, {ordinary}, recorded, true).kind, Kind::Ordinary) << ordinary;
}

// It may be of a namespace that was deleted since, and made again as a guest's.
TEST(CniDecision, WithoutAnAgentNoRecordMakesANamespaceOrdinaryWhereUnknownOnesAreRefused) {
  const Result<std::optional<GuestNamespaces>> recorded{GuestNamespaces{"guest-*", {"labelled"}, {"monitoring"}}};
  PluginSettings settings;
  EXPECT_EQ(decide(settings, {"monitoring"}, recorded, false).kind, Kind::Ordinary);
  settings.refuse_unknown = true;
  const CniDecision unknown = decide(settings, {"monitoring"}, recorded, false);
  EXPECT_EQ(unknown.kind, Kind::Unknown);
  EXPECT_THAT(unknown.why, HasSubstr("no agent runs"));
  EXPECT_EQ(decide(settings, {"labelled"}, recorded, false).kind, Kind::Guest);
  EXPECT_EQ(decide(settings, {"kube-system"}, recorded, false).kind, Kind::Ordinary) << "the settings say so";
}

TEST(CniDecision, ADamagedRecordMakesTheRestUnknown) {
  const Result<std::optional<GuestNamespaces>> damaged{Error{"/state/guest-namespaces.json: is damaged"}};
  EXPECT_EQ(decide({}, {"guest-bob"}, damaged, true).kind, Kind::Guest);
  EXPECT_EQ(decide({}, {"kube-system"}, damaged, true).kind, Kind::Ordinary);
  const CniDecision unknown = decide({}, {"default"}, damaged, true);
  EXPECT_EQ(unknown.kind, Kind::Unknown);
  EXPECT_THAT(unknown.why, HasSubstr("is damaged"));
}

}  // namespace
}  // namespace grantd
