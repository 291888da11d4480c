// One reader for objects of the API and for manifests: what one admits the other admits.
#include "crd-sync/api/api_object.h"
#include "crd-sync/admission.h"
#include "crd-sync/api/json.h"
#include "crd-sync/file_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// As kubectl shows it with --output=json.
nlohmann::json grant_of_the_api() {
  return nlohmann::json::parse(R"({
    "apiVersion": "keystone.io/v1alpha1", "kind": "Grant",
    "metadata": {
      "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"},
      "creationTimestamp": "2026-11-24T15:00:00Z", "generation": 2, "labels": {"a": "b"},
      "managedFields": [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}],
      "name": "alice-to-bob", "namespace": "keystone-system", "resourceVersion": "812", "uid": "0e0f",
      "someFieldOfTomorrow": true},
    "spec": {
      "grantorRealm": "alice-home", "granteeRealm": "bob-home",
      "hard": {"requests.nvidia.com/gpu": 1, "keystone.io/egress-bandwidth": "100M"},
      "networkPolicy": {"egressAllowed": true, "allowedDestinations": ["198.51.100.0/24:443/TCP"]},
      "revoked": false, "revocation": {"noticePeriodSeconds": 60}},
    "status": {"phase": "Active", "conditions": [{"type": "Accepted", "status": "True"}], "unknown": [null]}})");
}

std::string all_texts(const ReadResult& read) {
  std::string all;
  for (const Problem& problem : read.problems) all += problem.text() + "\n";
  return all;
}

TEST(ApiObject, LetsBeWhatTheServerAdds) {
  const ReadResult read = read_api_object(grant_of_the_api());
  EXPECT_EQ(all_texts(read), "");
  ASSERT_EQ(read.objects.size(), 1U);
  const auto& grant = std::get<Grant>(read.objects[0].value);
  EXPECT_EQ(grant.key(), "keystone-system/alice-to-bob");
  EXPECT_EQ(grant.egress_bps, 100'000'000U);
  EXPECT_EQ(grant.hard.at("requests.nvidia.com/gpu"), "1");
  EXPECT_EQ(grant.notice_period, std::chrono::seconds(60));
  EXPECT_EQ(grant.position.file, "kubernetes");
}

TEST(ApiObject, IsReadAsStrictlyAsAManifest) {
  nlohmann::json object = grant_of_the_api();
  object["spec"]["networkPolicy"]["allowedDestination"] = "internet";
  const ReadResult read = read_api_object(object);
  EXPECT_TRUE(read.objects.empty());
  ASSERT_EQ(read.refused.size(), 1U);
  EXPECT_EQ(read.refused[0].text(), "Grant keystone-system/alice-to-bob");
  EXPECT_EQ(all_texts(read).find("kubernetes: Grant keystone-system/alice-to-bob: "
                                 "spec.networkPolicy.allowedDestination: is an unknown field"),
            0U)
      << all_texts(read);
}

TEST(ApiObject, TakesTextForTextAndNumbersForNumbers) {
  nlohmann::json object = grant_of_the_api();
  object["spec"]["revoked"] = "true";
  EXPECT_THAT(all_texts(read_api_object(object)), HasSubstr("spec.revoked"));
  object = grant_of_the_api();
  object["spec"]["granteeRealm"] = "123";  // text that looks like a number
  EXPECT_EQ(all_texts(read_api_object(object)), "");
  object["spec"]["granteeRealm"] = 123;
  EXPECT_THAT(all_texts(read_api_object(object)), HasSubstr("spec.granteeRealm"));
  object = grant_of_the_api();
  object["spec"]["revocation"]["noticePeriodSeconds"] = 60.0;  // JSON knows no integers
  const ReadResult whole = read_api_object(object);
  EXPECT_EQ(all_texts(whole), "");
  EXPECT_EQ(std::get<Grant>(whole.objects.at(0).value).notice_period, std::chrono::seconds(60));
  object["spec"]["revocation"]["noticePeriodSeconds"] = 1.5;
  EXPECT_THAT(all_texts(read_api_object(object)), HasSubstr("noticePeriodSeconds"));
}

TEST(ApiObject, RefusesWhatIsNoObject) {
  for (const char* bad : {"[]", "null", "5", "{}", R"({"metadata": 5})", R"({"kind": {}, "spec": []})"}) {
    const ReadResult read = read_api_object(nlohmann::json::parse(bad));
    EXPECT_TRUE(read.objects.empty()) << bad;
    EXPECT_FALSE(read.problems.empty()) << bad;
    EXPECT_TRUE(read.all_known) << bad << ": the server knows what it is";
  }
}

TEST(ApiObject, KeepsABadObjectForAdmission) {
  ApiObjects store(keep_api_object());
  nlohmann::json object = grant_of_the_api();
  ASSERT_TRUE(store.put(*object_meta(object), object).ok());
  object["metadata"]["resourceVersion"] = "813";
  object["spec"]["validity"] = "forever";
  ASSERT_TRUE(store.put(*object_meta(object), object).ok());
  ASSERT_EQ(store.objects().size(), 1U);
  EXPECT_EQ(store.objects().begin()->second.object->refused.size(), 1U);
}

class ApiAdmission : public testing::Test {
 protected:
  // What stands after the API has shown these; and what is wrong.
  std::string admitted(const std::vector<nlohmann::json>& objects) {
    std::vector<std::shared_ptr<const ReadResult>> reads;
    for (const nlohmann::json& object : objects) reads.push_back(std::make_shared<ReadResult>(read_api_object(object)));
    Admitted result = admit(reads, last_good_);
    last_good_ = parse_last_good(last_good_text(result.last_good)).value();
    desired_ = result.desired;
    std::string text;
    for (const Grant& grant : result.desired.grants) text += grant.grantee_realm + ".";
    for (const Problem& problem : result.desired.problems) text += problem.message + ".";
    return text;
  }
  static nlohmann::json realm(const std::string& name, const std::string& address) {
    return {{"apiVersion", "keystone.io/v1alpha1"},
            {"kind", "Realm"},
            {"metadata", {{"name", name}, {"uid", "uid-" + name}, {"resourceVersion", "1"}}},
            {"spec", {{"identity", name}, {"addresses", {address}}}}};
  }
  static nlohmann::json grant(const std::string& name, const nlohmann::json& policy) {
    return {{"apiVersion", "keystone.io/v1alpha1"},
            {"kind", "Grant"},
            {"metadata",
             {{"name", name}, {"namespace", "keystone-system"}, {"uid", "uid-" + name}, {"resourceVersion", "1"}}},
            {"spec", {{"grantorRealm", "alice-home"}, {"granteeRealm", "bob-home"}, {"networkPolicy", policy}}}};
  }
  const nlohmann::json alice_ = realm("alice-home", "192.0.2.0/25"), bob_ = realm("bob-home", "192.0.2.128/26"),
                       carol_ = realm("carol", "192.0.2.192/26");
  LastGood last_good_;
  DesiredState desired_;
};

// Each object is read by itself: what is said of many others leaves room for it.
TEST_F(ApiAdmission, AnErrorIsToldHoweverManyOthersHaveWarnings) {
  std::vector<nlohmann::json> objects = {alice_, bob_};
  for (int number = 0; number < 600; number++)
    objects.push_back(
        grant("g" + std::to_string(number), {{"egressAllowed", false}, {"allowedDestinations", {"internet"}}}));
  admitted(objects);
  ASSERT_EQ(desired_.problems.size(), 600U) << "the control: each has a warning";
  objects.push_back(grant("last", {{"egressAllowed", "perhaps"}}));
  admitted(objects);
  EXPECT_EQ(desired_.problems.size(), 601U);
  EXPECT_EQ(std::ranges::count_if(desired_.problems,
                                  [](const Problem& each) { return each.object == "Grant keystone-system/last"; }),
            1);
}

TEST_F(ApiAdmission, KeepsTheLastGoodVersion) {
  nlohmann::json grant = grant_of_the_api();
  EXPECT_EQ(admitted({alice_, bob_, carol_, grant}), "bob-home.");
  grant["spec"]["hard"] = "none";
  EXPECT_THAT(admitted({alice_, bob_, carol_, grant}), testing::StartsWith("bob-home."));
  EXPECT_EQ(admitted({alice_, bob_, carol_}), "");  // deleted
}

// The server says that it is gone, by its key; what else is there with a name that is refused says nothing of it.
TEST_F(ApiAdmission, WhatIsDeletedIsGoneBesideANameThatIsRefused) {
  nlohmann::json grant = grant_of_the_api(), long_grant = grant;
  const std::string name(64, 'a');
  long_grant["metadata"]["name"] = name;
  const nlohmann::json long_realm = realm(name, "198.51.100.0/24");
  const auto refused = "metadata.name: \"" + name + "\": is no name of an object";
  for (const nlohmann::json& odd : {long_grant, long_realm}) {
    last_good_.clear();
    EXPECT_EQ(admitted({alice_, bob_, carol_, grant}), "bob-home.");
    EXPECT_EQ(admitted({alice_, bob_, carol_, grant, odd}), "bob-home.is no name of an object.");
    EXPECT_THAT(desired_.problems.at(0).text(), testing::AllOf(HasSubstr(refused), HasSubstr("parts of at most 63")));
    nlohmann::json edited = grant;
    edited["spec"]["hard"] = "none";
    EXPECT_THAT(admitted({alice_, bob_, carol_, edited, odd}), testing::StartsWith("bob-home.")) << "it is there";
    EXPECT_EQ(admitted({alice_, bob_, carol_, odd}), "is no name of an object.");
    EXPECT_TRUE(desired_.grants.empty());
    EXPECT_EQ(desired_.realms.size(), 3U);
    EXPECT_EQ(admitted({alice_, bob_, odd}), "is no name of an object.");
    EXPECT_EQ(desired_.realms.size(), 2U) << "a Realm too";
  }
}

TEST_F(ApiAdmission, TellsAnEditFromAnotherObjectOfTheSameName) {
  nlohmann::json grant = grant_of_the_api();
  EXPECT_EQ(admitted({alice_, bob_, carol_, grant}), "bob-home.");
  grant["spec"]["granteeRealm"] = "carol";
  EXPECT_THAT(admitted({alice_, bob_, carol_, grant}), testing::StartsWith("bob-home.cannot be changed."));
  grant["metadata"]["uid"] = "another";
  EXPECT_EQ(admitted({alice_, bob_, carol_, grant}), "carol.");
}

TEST_F(ApiAdmission, TellsTheGenerationInForceFromTheNewestOne) {
  const std::string key = "keystone-system/alice-to-bob";
  nlohmann::json grant = grant_of_the_api();
  admitted({alice_, bob_, carol_, grant});
  EXPECT_EQ(desired_.grants.at(0).head, (ObjectHead{"0e0f", 2}));
  grant["spec"]["hard"] = "none";
  grant["metadata"]["generation"] = 3;
  admitted({alice_, bob_, carol_, grant});
  EXPECT_EQ(desired_.grants.at(0).head, (ObjectHead{"0e0f", 2}));
  EXPECT_EQ(desired_.grant_heads.at(key), (ObjectHead{"0e0f", 3}));
  last_good_.clear();
  admitted({alice_, bob_, carol_, grant});
  EXPECT_TRUE(desired_.grants.empty());
  EXPECT_EQ(desired_.grant_heads.at(key), (ObjectHead{"0e0f", 3}));
  admitted({alice_, bob_, carol_});
  EXPECT_TRUE(desired_.grant_heads.empty());
}

TEST_F(ApiAdmission, BelievesNoOddGeneration) {
  for (const char* odd : {R"("3")", "-1", "0", "2.5", "1e30", "99999999999999999999", "[]", "{}", "null", "true"}) {
    nlohmann::json grant = grant_of_the_api();
    grant["metadata"]["generation"] = nlohmann::json::parse(odd);
    EXPECT_EQ(admitted({alice_, bob_, carol_, grant}), "bob-home.") << odd;
    EXPECT_EQ(desired_.grants.at(0).head.generation, 0) << odd;
  }
}

// Each manifest of a folder with each object of it, as the API would hold it.
template <typename Look>
int each_object(const std::string& folder, const Look& look) {
  int looked = 0;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(GRANTD_SOURCE_DIR) + folder)) {
    const auto text = read_whole_file(entry.path(), 4U << 20);
    if (!text.ok()) continue;
    const ReadResult file = read_manifests({entry.path(), text.value()});
    for (const ManifestObject& object : file.objects) {
      const auto json = parse_json(object.text.text(), {});
      EXPECT_TRUE(json.has_value()) << object.text.text();
      if (json) look(object, read_api_object(*json)), ++looked;
    }
  }
  return looked;
}

TEST(ApiObject, MeansTheSameAsItsManifest) {
  const auto look = [](const ManifestObject& object, const ReadResult& read) {
    ASSERT_EQ(read.objects.size(), 1U) << object.id.text() << "\n" << all_texts(read);
    EXPECT_EQ(read.objects[0].id, object.id);
    if (object.id.kind == ResourceKind::Grant) {
      EXPECT_EQ(std::get<Grant>(read.objects[0].value).spec_hash, std::get<Grant>(object.value).spec_hash);
    }
  };
  EXPECT_GE(each_object("/tests/unit/corpus/good", look), 5);
  EXPECT_GE(each_object("/examples/home", look), 5);
}

// As a YAML reader of version 1.2 tells text from numbers; nothing where JSON has no such value.
std::optional<nlohmann::json> json_of(const YamlNode& node) {
  nlohmann::json result;
  switch (node.type) {
    case YamlNode::Type::Null:
      return result;
    case YamlNode::Type::Scalar:
      if (scalar_meaning(node) == ScalarMeaning::Text) return nlohmann::json(node.text);
      return parse_json(node.text, {});
    case YamlNode::Type::Sequence:
      result = nlohmann::json::array();
      break;
    case YamlNode::Type::Map:
      result = nlohmann::json::object();
      break;
  }
  for (std::size_t index = 0; index < node.items.size(); ++index) {
    auto item = json_of(node.items[index]);
    if (!item) return std::nullopt;
    if (node.type == YamlNode::Type::Sequence)
      result.push_back(std::move(*item));
    else if (result.contains(node.keys[index].text))
      return std::nullopt;
    else
      result[node.keys[index].text] = std::move(*item);
  }
  return result;
}

TEST(ApiObject, IsRefusedWhereItsManifestIs) {
  int refused = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(std::string(GRANTD_SOURCE_DIR) + "/tests/unit/corpus/bad")) {
    const auto text = read_whole_file(entry.path(), 4U << 20);
    if (!text.ok()) continue;
    read_yaml(text.value(), {}, [&](int, YamlNode&& root) {
      const auto json = json_of(root);
      const ReadResult file = read_tree(entry.path(), root);
      if (!json || file.refused.size() != 1 || json_text(*json, "kind") == "List") return;
      // What is wrong with the metadata is the server's business.
      if (all_texts(file).find(": metadata.") != std::string::npos) return;
      EXPECT_TRUE(read_api_object(*json).objects.empty()) << entry.path();
      ++refused;
    });
  }
  EXPECT_GE(refused, 40);
}

TEST(ApiObject, HasItsOwnPath) {
  EXPECT_EQ(keystone_reflector(ResourceKind::Grant).path,
            "/apis/keystone.io/v1alpha1/namespaces/keystone-system/grants");
  EXPECT_EQ(keystone_reflector(ResourceKind::Realm).kind, "Realm");
}

}  // namespace
}  // namespace grantd
