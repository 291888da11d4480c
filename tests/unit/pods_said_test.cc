// Which pods are guests by what kubectl says, for grantctl verify.
#include "agent/ctl/verify/pods_said.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace grantd {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

const ClusterSettings kSettings{"here", "guest-*", "/r", "/c", "none"};

json of_namespace(const char* name, json labels = json::object()) {
  return {
      {"kind", "Namespace"},
      {"metadata",
       {{"name", name}, {"uid", std::string("n-") + name}, {"resourceVersion", "1"}, {"labels", std::move(labels)}}}};
}

json pod(const char* namespace_name, const char* name, const char* node, const char* address) {
  return {
      {"kind", "Pod"},
      {"metadata",
       {{"namespace", namespace_name}, {"name", name}, {"uid", std::string("p-") + name}, {"resourceVersion", "1"}}},
      {"spec", {{"nodeName", node}}},
      {"status", {{"phase", "Running"}, {"podIPs", {{{"ip", address}}}}}}};
}

std::string list(std::vector<json> items) { return json{{"kind", "List"}, {"items", std::move(items)}}.dump(); }

std::vector<std::string> names(const std::vector<Workload>& guests) {
  std::vector<std::string> all;
  for (const Workload& each : guests) all.push_back(each.name);
  return all;
}

TEST(PodsSaid, AreThoseOfGuestsNamespacesHereAndElsewhere) {
  json pending = pod("guest-bob", "unscheduled", "", "10.42.0.9"),
       ended = pod("guest-bob", "done", "here", "10.42.0.8");
  pending["spec"].erase("nodeName");
  ended["status"]["phase"] = "Succeeded";
  const auto said = read_pods_said(
      list({of_namespace("guest-bob"), of_namespace("labelled", {{"keystone.io/realm", "bob"}}), of_namespace("plain"),
            pod("guest-bob", "web", "here", "10.42.0.5"), pod("guest-bob", "far", "there", "10.42.1.5"),
            pod("labelled", "too", "here", "10.42.0.6"), pod("plain", "none", "here", "10.42.0.7"),
            pod("plain", "nor", "there", "10.42.1.7"), pending, ended}),
      kSettings, {});
  ASSERT_TRUE(said.ok()) << said.error().message;
  EXPECT_THAT(names(said.value().here), ElementsAre("guest-bob/web", "labelled/too"));
  EXPECT_THAT(names(said.value().elsewhere), ElementsAre("guest-bob/far"));
  EXPECT_EQ(said.value().here[0].addresses, std::vector{IpAddress::parse("10.42.0.5").value()});
}

TEST(PodsSaid, WhoWasAGuestIsOneInAnyNamespace) {
  const std::string text = list({of_namespace("plain"), pod("plain", "web", "here", "10.42.0.5")});
  EXPECT_THAT(read_pods_said(text, kSettings, {}).value().here, IsEmpty());
  const auto said = read_pods_said(text, kSettings, {"p-web"});
  ASSERT_EQ(said.value().here.size(), 1U);
  EXPECT_FALSE(said.value().here[0].quarantine.empty());
}

TEST(PodsSaid, WhatCannotBeReadIsSaidWhereItMayBeAGuest) {
  const auto damaged = [](const char* space, const char* node) {
    json object = pod(space, (std::string("odd-") + node).c_str(), node, "10.42.0.5");
    object["status"]["podIPs"] = "10.42.0.5";
    return object;
  };
  const auto said = read_pods_said(list({damaged("guest-bob", "here"), damaged("guest-bob", "there"),
                                         damaged("plain", "here"), damaged("plain", "there"), of_namespace("guest-bob"),
                                         of_namespace("plain"), pod("guest-bob", "web", "here", "10.42.0.5")}),
                                   kSettings, {});
  ASSERT_TRUE(said.ok()) << said.error().message;
  EXPECT_THAT(names(said.value().here), ElementsAre("guest-bob/web"));
  EXPECT_THAT(said.value().unread, ElementsAre("Pod guest-bob/odd-here: cannot be read: status.podIPs: is no list",
                                               "Pod guest-bob/odd-there: cannot be read: status.podIPs: is no list"));
}

// As the agent, which keeps no more of them.
TEST(PodsSaid, APodWithTooManyLabelsIsInDoubt) {
  json object = pod("guest-bob", "web", "here", "10.42.0.5");
  for (int label = 0; label < 300; label++) object["metadata"]["labels"]["l" + std::to_string(label)] = "x";
  const auto said = read_pods_said(list({of_namespace("guest-bob"), object}), kSettings, {});
  ASSERT_EQ(said.value().here.size(), 1U);
  EXPECT_THAT(said.value().here[0].quarantine, HasSubstr("its labels are more than"));
}

TEST(PodsSaid, WhatIsNoSuchListSaysWhatIsAccepted) {
  const std::pair<std::string, const char*> cases[] = {
      {"{", "is no list of objects"},
      {"[]", "is no list of objects"},
      {json{{"kind", "Pod"}}.dump(), "is no list of objects"},
      {list({pod("guest-bob", "web", "here", "10.42.0.5")}), "holds no namespace"},
      {list({of_namespace("guest-bob"), {{"kind", "Secret"}, {"metadata", {{"name", "s"}}}}}), "of the kind 'Secret'"},
  };
  for (const auto& [text, wrong] : cases) {
    const auto said = read_pods_said(text, kSettings, {});
    ASSERT_FALSE(said.ok()) << text;
    EXPECT_THAT(said.error().message, HasSubstr(wrong));
    EXPECT_EQ(said.error().message.find('\n'), std::string::npos);
  }
}

}  // namespace
}  // namespace grantd
