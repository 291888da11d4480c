// Which pods are guests, from namespaces and pods as the API server sends them; nothing that a guest may write opens
// anything.
#include "crd-sync/kubernetes/core_objects.h"
#include "crd-sync/kubernetes/guest_pattern.h"
#include "crd-sync/kubernetes/guests.h"
#include "crd-sync/kubernetes/pods_elsewhere.h"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <functional>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using Json = nlohmann::json;

const std::string kPattern = "guest-*";

Json labelled(const Json& labels) { return {{"metadata", {{"labels", labels}}}}; }

class GuestPodsTest : public testing::Test {
 protected:
  Result<void> put_namespace(const std::string& name, const Json& labels = Json::object()) {
    Json object = labelled(labels);
    object["metadata"]["name"] = name;
    return namespaces_.put({{"", name}, "uid-" + name, next()}, object);
  }
  Result<void> put_pod(const std::string& space, const std::string& name, Json object = Json::object(),
                       const std::string& uid = "uid-1") {
    object["metadata"]["uid"] = uid;
    return pods_.put({{space, name}, uid, next()}, object);
  }
  std::vector<Workload> guests() const { return guests_of(namespaces_.objects(), pods_.objects(), kPattern); }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const Workload& each : guests()) names.push_back(each.name);
    return names;
  }
  std::string next() { return std::to_string(++version_); }

  Namespaces namespaces_{keep_namespace(kPattern)};
  Pods pods_{keep_pod()};
  int version_ = 0;
};

TEST_F(GuestPodsTest, AreThoseOfANamespaceThatMatchesOrIsLabelled) {
  ASSERT_TRUE(put_namespace("guest-bob"));
  ASSERT_TRUE(put_namespace("labelled", {{kRealmLabel, "carol"}}));
  ASSERT_TRUE(put_namespace("ordinary", {{"team", "a"}}));
  for (const char* space : {"guest-bob", "labelled", "ordinary", "guests", "my-guest-bob"})
    ASSERT_TRUE(put_pod(space, "web"));
  EXPECT_THAT(names(), ElementsAre("guest-bob/web", "labelled/web"));
  EXPECT_EQ(guests()[0].pod->realm, "bob");
  EXPECT_EQ(guests()[1].pod->realm, "carol");
}

// Its label may name a narrow Grant, or one that is revoked: without it the pod's own would choose.
TEST_F(GuestPodsTest, ANamespaceThatIsNotKnownIsAGuestsByItsNameAndInQuarantine) {
  ASSERT_TRUE(put_pod("guest-bob", "web", labelled({{kGrantLabel, "wide"}})));
  ASSERT_TRUE(put_pod("ordinary", "web"));
  ASSERT_THAT(names(), ElementsAre("guest-bob/web"));
  EXPECT_THAT(guests()[0].quarantine, HasSubstr("namespace guest-bob is not known"));
  ASSERT_TRUE(put_namespace("guest-bob", {{kGrantLabel, "narrow"}}));
  EXPECT_EQ(guests()[0].quarantine, "");
  EXPECT_EQ(guests()[0].pod->namespace_grant, "narrow");
}

TEST_F(GuestPodsTest, AnEmptyLabelIsNoWordThatThePodMayChoose) {
  ASSERT_TRUE(put_namespace("guest-bob", {{kGrantLabel, ""}}));
  ASSERT_TRUE(put_pod("guest-bob", "web", labelled({{kGrantLabel, "wide"}})));
  EXPECT_THAT(guests()[0].quarantine, HasSubstr("label keystone.io/grant of namespace guest-bob is empty"));
  ASSERT_TRUE(put_namespace("guest-bob"));
  EXPECT_EQ(guests()[0].quarantine, "") << "the control";
}

TEST_F(GuestPodsTest, APodsOwnLabelsMakeNoGuestAndTakeNoneAway) {
  ASSERT_TRUE(put_namespace("ordinary"));
  ASSERT_TRUE(put_namespace("guest-bob"));
  ASSERT_TRUE(put_pod("ordinary", "web", labelled({{kRealmLabel, "bob"}, {kGrantLabel, "g"}})));
  ASSERT_TRUE(put_pod("guest-bob", "web", labelled({{kRealmLabel, "carol"}, {kGrantLabel, "mine"}})));
  ASSERT_THAT(names(), ElementsAre("guest-bob/web"));
  const GuestPod pod = *guests()[0].pod;
  EXPECT_EQ(pod.realm, "bob") << "the namespace's, whatever the pod says of itself";
  EXPECT_EQ(pod.namespace_grant, "");
  EXPECT_EQ(pod.own_grant, "mine");
}

TEST_F(GuestPodsTest, AMirrorIsKnownToItsNodeByTheStaticPodsUid) {
  ASSERT_TRUE(put_namespace("guest-bob"));
  ASSERT_TRUE(put_pod("guest-bob", "plain"));
  ASSERT_TRUE(put_pod("guest-bob", "static",
                      {{"metadata", {{"annotations", {{"kubernetes.io/config.mirror", "0a1b2c"}}}}}}, "uid-2"));
  EXPECT_EQ(guests()[0].pod->node_uid, "uid-1");
  EXPECT_EQ(guests()[1].pod->node_uid, "0a1b2c");
  EXPECT_EQ(guests()[1].pod->uid, "uid-2") << "who it is";
  EXPECT_FALSE(
      put_pod("guest-bob", "bad", {{"metadata", {{"annotations", {{"kubernetes.io/config.mirror", "../x"}}}}}}));
}

TEST_F(GuestPodsTest, ARealmThatCannotBeToldIsQuarantine) {
  ASSERT_TRUE(put_namespace("guest-bob", {{kRealmLabel, "carol"}}));
  ASSERT_TRUE(put_namespace("empty", {{kRealmLabel, ""}}));
  ASSERT_TRUE(put_pod("guest-bob", "web"));
  ASSERT_TRUE(put_pod("empty", "web"));
  const auto all = guests();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all[0].quarantine, HasSubstr("is no Realm's name"));
  EXPECT_THAT(all[1].quarantine, HasSubstr("says realm bob and its label carol"));
}

// A selector with NotIn would choose what it should not.
TEST_F(GuestPodsTest, APodWhoseLabelsWereLeftOutIsInQuarantineAlone) {
  ASSERT_TRUE(put_namespace("guest-bob"));
  const Json left_out = Json::parse(R"({"":"left out"})");
  ASSERT_TRUE(put_pod("guest-bob", "many", labelled(left_out)));
  ASSERT_TRUE(put_pod("guest-bob", "plain", labelled({{kGrantLabel, "g"}})));
  const auto all = guests();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_THAT(all[0].quarantine, HasSubstr("its labels are more than 256"));
  EXPECT_EQ(all[0].cause, Cause::LabelsUnclear);
  EXPECT_TRUE(all[0].pod->labels.empty());
  EXPECT_EQ(all[1].quarantine, "");
  EXPECT_EQ(all[1].pod->own_grant, "g");
  EXPECT_FALSE(
      put_pod("guest-bob", "mirror", {{"metadata", {{"annotations", {{"kubernetes.io/config.mirror", left_out}}}}}}));
  ASSERT_TRUE(put_pod("guest-bob", "many", labelled({{"a", "b"}})));
  EXPECT_EQ(guests()[0].quarantine, "") << "as soon as they are known";
}

TEST_F(GuestPodsTest, PodsThatHaveEndedAreGone) {
  for (const char* phase : {"Pending", "Running", "Succeeded", "Failed", "Unknown"})
    ASSERT_TRUE(put_pod("guest-bob", std::string("p-") + phase, {{"status", {{"phase", phase}}}}));
  EXPECT_THAT(names(), ElementsAre("guest-bob/p-Pending", "guest-bob/p-Running", "guest-bob/p-Unknown"));
  ASSERT_TRUE(put_pod("guest-bob", "p-Running", {{"status", {{"phase", "Succeeded"}}}}));
  EXPECT_THAT(names(), ElementsAre("guest-bob/p-Pending", "guest-bob/p-Unknown"));
}

// What their owners may write of any length; of the rest nothing is kept.
TEST(KeptBytes, AreThoseOfLabels) {
  NamespaceFacts space;
  Pod pod;
  const Json large = {{"spec", std::string(10'000, 'x')}};
  const std::size_t bare = kept_bytes(large, pod);
  EXPECT_LT(bare, 1'000U);
  EXPECT_LT(kept_bytes(large, space), 1'000U);
  pod.labels = space.labels = {{"a", std::string(2'000, 'x')}};
  EXPECT_GE(kept_bytes(large, pod), bare + 2'000);
  EXPECT_GE(kept_bytes(large, space), 2'000U);
  pod.addresses.resize(100);
  EXPECT_GE(kept_bytes(large, pod), bare + 2'000 + 100 * sizeof(IpAddress));
}

// Those that Helm, a Deployment and a StatefulSet give it between them.
Json usual_labels(int number) {
  const std::string name = "web-frontend-" + std::to_string(number);
  return {{"app.kubernetes.io/name", "web-frontend"},
          {"app.kubernetes.io/instance", "production"},
          {"app.kubernetes.io/version", "2026.11.30"},
          {"app.kubernetes.io/component", "server"},
          {"app.kubernetes.io/managed-by", "Helm"},
          {"helm.sh/chart", "web-frontend-1.4.2"},
          {"controller-revision-hash", "web-frontend-6f7d8"},
          {"statefulset.kubernetes.io/pod-name", name},
          {"apps.kubernetes.io/pod-index", "1"}};
}

TEST(KeptBytes, ANamespaceOnOtherNodesHasRoomForALargeCluster) {
  Pods pods(keep_pod(), Pods::kMostObjects, PodsElsewhere::kMostBytes);
  for (int number = 0; number < 5'000; ++number) {
    Json object = labelled(usual_labels(number));
    const std::string uid = "8f0c7a56-1f0b-4c57-9c0e-" + std::to_string(100'000'000'000 + number);
    object["metadata"]["uid"] = uid;
    object["status"]["podIPs"] = {{{"ip", "10.42.1.2"}}, {{"ip", "fd00:42::1:2"}}};
    ASSERT_TRUE(pods.put({{"guest-bob", "web-frontend-" + std::to_string(number)}, uid, "123456789"}, object));
  }
  EXPECT_FALSE(pods.full());
  EXPECT_EQ(pods.objects().begin()->second.object->labels.find("helm.sh/chart"), "web-frontend-1.4.2");
}

TEST_F(GuestPodsTest, APodMadeAgainIsAnotherOne) {
  ASSERT_TRUE(put_pod("guest-bob", "web", labelled({{kGrantLabel, "g"}}), "uid-1"));
  ASSERT_TRUE(put_pod("guest-bob", "web", Json::object(), "uid-2"));
  ASSERT_THAT(names(), ElementsAre("guest-bob/web"));
  EXPECT_EQ(guests()[0].pod->uid, "uid-2");
  EXPECT_EQ(guests()[0].pod->own_grant, "");
}

TEST_F(GuestPodsTest, OnTheHostNetworkAPodHasNoAddressesOfItsOwn) {
  const Json status = {{"podIPs", {{{"ip", "10.42.0.7"}}, {{"ip", "fd00::7"}}, {{"ip", "10.42.0.7"}}}}};
  ASSERT_TRUE(put_pod("guest-bob", "a", {{"status", status}}));
  ASSERT_TRUE(put_pod("guest-bob", "b", {{"status", status}, {"spec", {{"hostNetwork", true}}}}));
  const auto all = guests();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].addresses.size(), 2U);
  EXPECT_THAT(all[1].addresses, IsEmpty());
  EXPECT_TRUE(all[1].pod->host_network);
}

TEST_F(GuestPodsTest, AnObjectThatCannotBeReadKeepsItsLastVersion) {
  ASSERT_TRUE(put_namespace("labelled", {{kRealmLabel, "carol"}}));
  ASSERT_TRUE(put_pod("labelled", "web"));
  for (const Json& labels : {Json("text"), Json::array({1}), Json{{kRealmLabel, 7}}})
    EXPECT_FALSE(put_namespace("labelled", labels));
  EXPECT_FALSE(put_pod("labelled", "web", labelled({{"a", nullptr}})));
  EXPECT_FALSE(put_pod("labelled", "other", Json::object(), "../escape"));
  EXPECT_THAT(names(), ElementsAre("labelled/web"));
}

TEST_F(GuestPodsTest, APodThatCannotBeReadKeepsItsLastVersion) {
  ASSERT_TRUE(put_namespace("guest-bob"));
  const Json good = {
      {"spec", {{"hostNetwork", false}}},
      {"status", {{"phase", "Running"}, {"qosClass", "Burstable"}, {"podIPs", {{{"ip", "10.42.0.7"}}}}}}};
  ASSERT_TRUE(put_pod("guest-bob", "web", good));
  const auto before = guests();
  ASSERT_THAT(before[0].addresses, ElementsAre(IpAddress::parse("10.42.0.7").value()));
  for (const auto& [path, wrong] : std::vector<std::pair<const char*, Json>>{
           {"/spec/hostNetwork", "true"},
           {"/spec/hostNetwork", 1},
           {"/status/phase", 7},
           {"/status/qosClass", "Besteffort"},
           {"/status/qosClass", {"Burstable"}},
           {"/status/podIPs", "10.42.0.7"},
           {"/status/podIPs", {{"ip", "10.42.0.7"}}},
           {"/status/podIPs", Json::array({{{"ip", "10.42.0.700"}}})},
           {"/status/podIPs", Json::array({{{"ip", "10.42.0.7"}}, "10.42.0.8"})}}) {
    Json pod = good;
    pod[Json::json_pointer(path)] = wrong;
    EXPECT_FALSE(put_pod("guest-bob", "web", pod)) << pod;
    EXPECT_EQ(guests()[0].addresses, before[0].addresses) << pod;
    EXPECT_FALSE(guests()[0].pod->host_network) << pod;
    EXPECT_EQ(guests()[0].pod->qos, GuestPod::Qos::Burstable) << pod;
  }
}

// A process of it may end its sandbox, and the kubelet makes another one.
TEST_F(GuestPodsTest, AGuestIsOneToItsEndWhateverBecomesOfTheLabel) {
  std::set<std::string> known;
  const auto look = [&] {
    auto guests = guests_of(namespaces_.objects(), pods_.objects(), kPattern, known);
    known.clear();
    for (const Workload& each : guests) known.insert(each.pod->node_uid);
    return guests;
  };
  const auto former = [&](std::vector<Workload> guests) {
    DesiredState desired;
    desired.workloads = std::move(guests);
    sort_namespaces(namespaces_.objects(), kPattern, desired);
    return desired.former_guests;
  };
  ASSERT_TRUE(put_namespace("labelled", {{kRealmLabel, "carol"}}));
  ASSERT_TRUE(put_pod("labelled", "web", {}, "uid-2"));
  ASSERT_TRUE(put_pod("labelled", "static",
                      {{"metadata", {{"annotations", {{"kubernetes.io/config.mirror", "0a1b2c"}}}}}}, "uid-3"));
  EXPECT_THAT(former(look()), IsEmpty());
  ASSERT_TRUE(put_namespace("labelled"));
  ASSERT_TRUE(put_pod("labelled", "late", {}, "uid-4"));
  for (int again = 0; again < 2; ++again) {
    const auto all = look();
    ASSERT_THAT(all, testing::SizeIs(2)) << "one that came after it is none";
    for (const Workload& each : all) {
      EXPECT_THAT(each.quarantine, HasSubstr("namespace labelled has lost its label keystone.io/realm"));
      EXPECT_EQ(each.pod->realm, "");
    }
    EXPECT_THAT(former(all),
                ElementsAre(testing::Pair("0a1b2c", "labelled/static"), testing::Pair("uid-2", "labelled/web")));
  }
  ASSERT_TRUE(put_namespace("labelled", {{kRealmLabel, "carol"}}));
  ASSERT_THAT(look(), testing::SizeIs(3));
  EXPECT_EQ(look()[0].quarantine, "");
  EXPECT_THAT(former(look()), IsEmpty());
  ASSERT_TRUE(put_namespace("labelled"));
  EXPECT_THAT(look(), testing::SizeIs(3));
  pods_.remove({{"labelled", "web"}, "uid-2", next()});
  ASSERT_TRUE(put_pod("labelled", "web", {}, "uid-5"));
  EXPECT_THAT(former(look()), testing::Not(testing::Contains(testing::Pair("uid-2", "labelled/web"))));
  EXPECT_THAT(look(), testing::SizeIs(2)) << "another one by its name is none";
}

TEST_F(GuestPodsTest, TheOrderOfEventsDecidesNothing) {
  const std::vector<std::function<void()>> events = {
      [this] {
        (void)put_namespace("labelled", {{kRealmLabel, "carol"}});
      },
      [this] { (void)put_pod("labelled", "a"); },
      [this] { (void)put_pod("guest-bob", "b"); },
      [this] { (void)put_namespace("guest-bob"); },
  };
  std::vector<std::size_t> order = {0, 1, 2, 3};
  do {
    for (ObjectSink* store : {static_cast<ObjectSink*>(&namespaces_), static_cast<ObjectSink*>(&pods_)}) {
      store->begin_replace();
      store->end_replace();
    }
    ASSERT_THAT(names(), IsEmpty());
    for (const std::size_t each : order) events[each]();
    EXPECT_THAT(names(), ElementsAre("guest-bob/b", "labelled/a"));
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_F(GuestPodsTest, NamespacesAreSortedForThePlugin) {
  ASSERT_TRUE(put_namespace("guest-bob"));
  ASSERT_TRUE(put_namespace("labelled", {{kRealmLabel, "carol"}}));
  ASSERT_TRUE(put_namespace("ordinary", {{"team", "a"}}));
  DesiredState desired;
  sort_namespaces(namespaces_.objects(), kPattern, desired);
  EXPECT_THAT(desired.labelled_namespaces, ElementsAre("labelled"));
  EXPECT_THAT(desired.ordinary_namespaces, ElementsAre("ordinary"));
  // Another one may come under its name.
  Json ending = {{"metadata", {{"name", "ordinary"}, {"deletionTimestamp", "2026-01-01T00:00:00Z"}}}};
  ASSERT_TRUE(namespaces_.put({{"", "ordinary"}, "uid-ordinary", next()}, ending));
  desired = {};
  sort_namespaces(namespaces_.objects(), kPattern, desired);
  EXPECT_THAT(desired.ordinary_namespaces, IsEmpty());
}

TEST_F(GuestPodsTest, NamespacesThatMayShareAGrantAreTheRealmsOwn) {
  ASSERT_TRUE(put_namespace("guest-bob"));
  ASSERT_TRUE(put_namespace("bob-two", {{kRealmLabel, "bob"}, {kGrantLabel, "g"}}));
  ASSERT_TRUE(put_namespace("bob-three", {{kRealmLabel, "bob"}, {kGrantLabel, "h"}}));
  ASSERT_TRUE(put_namespace("guest-carol"));
  ASSERT_TRUE(put_namespace("ordinary"));
  const auto sharing = [this] { return sharing_namespaces(namespaces_.objects(), guests(), kPattern); };
  EXPECT_THAT(sharing(), IsEmpty());
  ASSERT_TRUE(put_pod("bob-two", "web"));
  EXPECT_THAT(sharing(), ElementsAre("bob-two", "guest-bob"));
  ASSERT_TRUE(put_pod("guest-bob", "web"));
  EXPECT_THAT(sharing(), ElementsAre("bob-three", "bob-two", "guest-bob"));
  ASSERT_TRUE(put_namespace("guest-bob", {{kRealmLabel, "carol"}}));
  EXPECT_THAT(sharing(), ElementsAre("bob-two")) << "a realm in doubt is nobody's";
}

TEST(GuestPattern, OnePartOfTheNameIsTheRealm) {
  EXPECT_EQ(realm_of_namespace("guest-*", "guest-bob"), "bob");
  EXPECT_EQ(realm_of_namespace("guest-*", "guest-"), std::nullopt);
  EXPECT_EQ(realm_of_namespace("guest-*", "guestbob"), std::nullopt);
  EXPECT_EQ(realm_of_namespace("g-*-x", "g-bob-x"), "bob");
  EXPECT_EQ(realm_of_namespace("g-*-x", "g-x"), std::nullopt) << "the two ends do not overlap";
  for (const char* good : {"guest-*", "*-guests", "a-*-b"}) EXPECT_TRUE(is_guest_pattern(good)) << good;
  for (const char* bad : {"*", "", "guest", "g-*-*", "Guest-*", "g/*", "guest-[ab]*", "-*"})
    EXPECT_FALSE(is_guest_pattern(bad)) << bad;
}

}  // namespace
}  // namespace grantd
