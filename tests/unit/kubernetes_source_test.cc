// What the API server as a whole tells, from a server of the test's own: what is waited for, what is told of, and that
// no change goes unnoticed.
#include "crd-sync/kubernetes/kubernetes_source.h"
#include "tests/unit/api_samples.h"
#include "tests/unit/api_server.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>
#include <poll.h>

#include <list>
#include <map>
#include <set>

namespace grantd {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Json = nlohmann::json;

Json object(const std::string& kind, const std::string& space, const std::string& name) {
  const bool ours = kind == "Realm" || kind == "Grant";
  Json made = {{"apiVersion", ours ? "keystone.io/v1alpha1" : "v1"},
               {"kind", kind},
               {"metadata", {{"name", name}, {"uid", "uid-" + name}, {"resourceVersion", "1"}}},
               {"spec", Json::object()}};
  if (!space.empty()) made["metadata"]["namespace"] = space;
  return made;
}

class KubernetesSourceTest : public testing::Test {
 protected:
  enum Kind { kRealms, kGrants, kNamespaces, kPods, kStrays, kElsewhere };

  KubernetesSourceTest() {
    initial_[kNamespaces] = {object("Namespace", "", "guest-bob")};
    initial_[kPods] = {object("Pod", "guest-bob", "here")};
    initial_[kElsewhere] = {object("Pod", "guest-bob", "there")};
    server_.emplace(pki_, [this](const httplib::Request& request, httplib::Response& response) {
      answer(kind_of(request.target), request, response);
    });
    to_.url = server_->url();
    to_.authority.file = pki_.path("ca.crt");
  }
  ~KubernetesSourceTest() override {
    client_.reset();
    close();
    server_.reset();
  }
  // Streams hold the server's threads, of which it has few.
  void close() {
    source_.reset();
    cut();
  }
  void cut() {
    const std::lock_guard lock(mutex_);
    for (auto& [kind, streams] : streams_)
      for (TestStream& stream : streams) stream.cut();
  }

  static Kind kind_of(const std::string& target) {
    const auto has = [&](const char* text) { return target.find(text) != target.npos; };
    if (has("/realms?")) return kRealms;
    if (has("/namespaces/keystone-system/grants?")) return kGrants;
    if (has("/grants?")) return kStrays;
    if (has("/pods?")) return has("/namespaces/") ? kElsewhere : kPods;
    return kNamespaces;
  }
  static const char* object_kind(Kind kind) {
    constexpr const char* kNames[] = {"Realm", "Grant", "Namespace", "Pod", "Grant", "Pod"};
    return kNames[kind];
  }
  static std::string whole(Kind kind, const std::vector<Json>& objects) {
    std::string text;
    for (const Json& each : objects) text += api_event("ADDED", each);
    Json end = object(object_kind(kind), "", "end");
    end["metadata"] = {{"resourceVersion", "1"}, {"annotations", {{"k8s.io/initial-events-end", "true"}}}};
    return text + api_event("BOOKMARK", end);
  }
  static void refuse(int status, const char* message, httplib::Response& response) {
    response.status = status;
    response.set_content(api_status(status, message), "application/json");
  }
  void answer(Kind kind, const httplib::Request& request, httplib::Response& response) {
    const std::lock_guard lock(mutex_);
    if (refused_.contains(kind)) return refuse(403, "not yours", response);
    if (kind == kElsewhere && throttled_ > 0) {
      --throttled_;
      return refuse(429, "too many requests", response);
    }
    const bool page = !request.has_param("watch");
    if (paged_ && request.has_param("sendInitialEvents")) return refuse(422, "there is no WatchList", response);
    TestStream& stream = streams_[kind].emplace_back();
    if (!held_.contains(kind)) stream.write(page ? whole_page(kind) : whole(kind, initial_[kind]));
    if (!held_.contains(kind) && page) stream.finish();
    stream.serve(response);
  }
  std::string whole_page(Kind kind) {
    Json page = object(object_kind(kind), "", "");
    page["kind"] = object_kind(kind) + std::string("List");
    page["metadata"] = {{"resourceVersion", "1"}};
    page["items"] = initial_[kind];
    return page.dump();
  }
  std::size_t opened(Kind kind) {
    const std::lock_guard lock(mutex_);
    return streams_[kind].size();
  }
  TestStream& stream(Kind kind) {
    const std::lock_guard lock(mutex_);
    return streams_[kind].back();
  }

  // "g", from now on what the server tells first, with its Realms.
  Json grant_of_two_realms() {
    Json alice = object("Realm", "", "alice"), bob = object("Realm", "", "bob"),
         grant = object("Grant", "keystone-system", "g");
    alice["spec"] = {{"identity", "a"}, {"addresses", {"192.0.2.0/24"}}};
    bob["spec"] = {{"identity", "b"}, {"addresses", {"198.51.100.0/24"}}};
    grant["spec"] = {{"grantorRealm", "alice"}, {"granteeRealm", "bob"}};
    initial_[kRealms] = {alice, bob};
    initial_[kGrants] = {grant};
    return grant;
  }
  void open() {
    KubernetesOptions options{"node-a", "guest-*", state_.path()};
    options.believed_elsewhere = believed_;
    auto source = KubernetesSource::open(to_, options);
    ASSERT_TRUE(source.ok());
    source_ = std::move(source).value();
  }
  // As the agent does: loads when drain() says that something has changed, and at no other time.
  bool until(const std::function<bool(const DesiredState&)>& met, std::chrono::milliseconds limit = 5s) {
    const auto last = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < last) {
      pollfd poller{source_->fds()[0], POLLIN, 0};
      if (poll(&poller, 1, 20) > 0 && source_->drain()) {
        auto loaded = source_->load();
        if (loaded) desired_ = std::move(loaded);
      }
      if (desired_ && met(*desired_)) return true;
    }
    return false;
  }
  static bool any(const DesiredState&) { return true; }
  // Waits also until the server has been asked for the kind, however busy the machine is.
  bool known_without(Kind kind, std::size_t opened_before, std::chrono::milliseconds limit) {
    bool known = until(any, limit);
    for (const auto last = now() + 10s; opened(kind) == opened_before && now() < last;) known |= until(any, 20ms);
    return known;
  }
  static ApiTime now() { return ApiTime::clock::now(); }
  static std::vector<Workload> guests(const PodsElsewhere& pods, ApiTime::duration later = {}) {
    return pods.guests({}, "guest-*", now() + later);
  }
  bool follow(PodsElsewhere& pods, const std::set<std::string>& namespaces, const std::function<bool()>& met) {
    if (!client_) client_ = std::move(ApiClient::open(to_)).value();
    pods.want(namespaces, *client_, now());
    for (const auto last = now() + 10s; now() < last && !met();) {
      pollfd poller{client_->fd(), POLLIN, 0};
      if (poll(&poller, 1, 10) > 0) client_->work();
    }
    return met();
  }
  std::vector<std::string> troubles() const {
    std::vector<std::string> all;
    for (const Problem& each : source_->troubles()) all.push_back(each.text());
    return all;
  }

  const TemporaryDirectory state_;
  TestPki pki_;
  std::mutex mutex_;
  std::map<Kind, std::vector<Json>> initial_;
  std::map<Kind, std::list<TestStream>> streams_;
  std::set<Kind> held_, refused_;
  bool paged_ = false;  // the server streams no lists
  int throttled_ = 0;   // so many requests for pods elsewhere
  ApiTime::duration believed_ = PodsElsewhere::kBelieved;
  std::optional<TestApiServer> server_;
  ApiServer to_;
  std::optional<DesiredState> desired_;
  std::unique_ptr<ApiClient> client_;
  std::unique_ptr<KubernetesSource> source_;
};

TEST_F(KubernetesSourceTest, WaitsForEachKindAndForGuestsElsewhere) {
  for (const Kind kind : {kRealms, kGrants, kNamespaces, kPods, kElsewhere}) {
    held_ = {kind};
    desired_.reset();
    const std::size_t before = opened(kind);
    open();
    ASSERT_FALSE(known_without(kind, before, 400ms)) << kind;
    stream(kind).write(whole(kind, initial_[kind]));
    ASSERT_TRUE(until(any)) << kind;
    EXPECT_EQ(desired_->workloads.size(), 1U);
    EXPECT_EQ(desired_->elsewhere.size(), 1U) << "known before anything is enforced";
    EXPECT_THAT(troubles(), IsEmpty());
    close();
  }
}

TEST_F(KubernetesSourceTest, DoesNotWaitForAServerThatRefusesToTellOfGuestsElsewhere) {
  refused_ = {kElsewhere};
  open();
  ASSERT_TRUE(until(any));
  EXPECT_THAT(desired_->elsewhere, IsEmpty());
  EXPECT_THAT(troubles(), Contains(testing::AllOf(HasSubstr("cannot be followed"), HasSubstr("not yours"),
                                                  HasSubstr("of other nodes, in namespace guest-bob"))));
}

// As Kubernetes 1.33 does by default: the first answer for each kind is a refusal to stream it.
TEST_F(KubernetesSourceTest, WaitsForGuestsElsewhereOfAServerThatStreamsNoLists) {
  paged_ = true;
  held_ = {kElsewhere};
  open();
  ASSERT_FALSE(known_without(kElsewhere, 0, 400ms));
  EXPECT_THAT(troubles(), IsEmpty());
  stream(kElsewhere).write(whole_page(kElsewhere));
  stream(kElsewhere).finish();
  ASSERT_TRUE(until(any));
  EXPECT_EQ(desired_->elsewhere.size(), 1U) << "known before anything is enforced";
}

TEST_F(KubernetesSourceTest, WaitsForGuestsElsewhereOfAServerThatThrottles) {
  throttled_ = 1;
  open();
  ASSERT_TRUE(until(any));
  EXPECT_EQ(desired_->elsewhere.size(), 1U);
  EXPECT_EQ(throttled_, 0) << "the control";
}

TEST_F(KubernetesSourceTest, WaitsForGuestsElsewhereNoLongerThanTheyWouldBeBelieved) {
  believed_ = 3s;
  for (const bool answers : {false, true}) {
    if (answers)
      throttled_ = 1000;
    else
      held_ = {kElsewhere};
    desired_.reset();
    open();
    EXPECT_FALSE(until(any, 1s)) << answers;
    ASSERT_TRUE(until(any, 10s)) << answers;
    EXPECT_EQ(desired_->workloads.size(), 1U);
    EXPECT_THAT(desired_->elsewhere, IsEmpty());
    close();
  }
}

TEST_F(KubernetesSourceTest, TellsOfEveryKindThatCannotBeFollowed) {
  for (const Kind kind : {kRealms, kGrants, kNamespaces, kPods, kStrays}) {
    refused_ = {kind};
    open();
    EXPECT_EQ(until([&](const DesiredState&) { return !troubles().empty(); }, 1500ms), kind == kStrays) << kind;
    ASSERT_EQ(troubles().size(), 1U) << kind;
    EXPECT_THAT(troubles()[0], HasSubstr(std::string(object_kind(kind)) + ": ")) << kind;
    close();
  }
}

// What the server lets through, and a node refuses: a Realm that is not there.
TEST_F(KubernetesSourceTest, ARevocationOfARefusedVersionHolds) {
  Json grant = grant_of_two_realms();
  open();
  ASSERT_TRUE(until([](const DesiredState& desired) { return desired.grants.size() == 1; }));
  const auto edit = [&](const char* version) {
    grant["metadata"]["resourceVersion"] = version;
    stream(kGrants).write(api_event("MODIFIED", grant));
  };
  grant["spec"]["networkPolicy"] = {{"egressAllowed", true}, {"allowedDestinations", {"realm:nobody"}}};
  edit("2");
  ASSERT_TRUE(until([](const DesiredState& desired) { return !desired.problems.empty(); }));
  EXPECT_FALSE(desired_->grants.at(0).revoked) << "the control";
  grant["spec"]["revoked"] = true;
  edit("3");
  EXPECT_TRUE(until([](const DesiredState& desired) { return desired.grants.at(0).revoked; }));
}

// Names that a server without our rules lets through: a part of more than 63 characters.
TEST_F(KubernetesSourceTest, WhatIsDeletedIsGoneBesideANameThatIsRefused) {
  const std::string name(64, 'a');
  for (const Kind kind : {kRealms, kGrants}) {
    const Json grant = grant_of_two_realms();
    Json odd = kind == kRealms ? object("Realm", "", name) : object("Grant", "keystone-system", name);
    odd["spec"] = kind == kRealms ? Json{{"identity", "odd"}} : grant["spec"];
    open();
    ASSERT_TRUE(until([](const DesiredState& desired) { return desired.grants.size() == 1; }));
    EXPECT_FALSE(source_->keep().has_value());
    stream(kind).write(api_event("ADDED", odd));
    ASSERT_TRUE(until([](const DesiredState& desired) { return !desired.problems.empty(); }));
    EXPECT_THAT(desired_->problems[0].text(), testing::AllOf(HasSubstr(name), HasSubstr("parts of at most 63")));
    EXPECT_EQ(desired_->grants.size(), 1U);
    stream(kGrants).write(api_event("DELETED", grant));
    EXPECT_TRUE(until([](const DesiredState& desired) { return desired.grants.empty(); })) << kind;
    EXPECT_EQ(desired_->realms.size(), 2U);
    close();  // before that was kept
    initial_[kGrants].clear();
    initial_[kind].push_back(odd);
    desired_.reset();
    open();
    ASSERT_TRUE(until(any));
    EXPECT_THAT(desired_->grants, IsEmpty()) << kind;
    ASSERT_NE(source_->grants(), nullptr);
    EXPECT_THAT(*source_->grants(), IsEmpty()) << kind << ": what Grants that have ended are closed by";
    EXPECT_EQ(desired_->problems.size(), 1U) << "it was there, and is seen";
    close();
  }
}

TEST_F(KubernetesSourceTest, KnowsWhetherItHearsOfNamespaces) {
  held_ = {kNamespaces};
  open();
  EXPECT_FALSE(known_without(kNamespaces, 0, 300ms));
  EXPECT_FALSE(source_->follows_namespaces());
  stream(kNamespaces).write(whole(kNamespaces, initial_[kNamespaces]));
  ASSERT_TRUE(until(any));
  EXPECT_TRUE(source_->follows_namespaces());
  refused_ = {kNamespaces};
  stream(kNamespaces).cut();
  const auto lost = [this](const DesiredState&) { return !source_->follows_namespaces(); };
  EXPECT_FALSE(until(lost, 2s)) << "a stream may end";
  EXPECT_TRUE(until(lost, 8s));
}

TEST_F(KubernetesSourceTest, GrantsOutsideOfKeystoneSystemAreToldOfAndGrantNothing) {
  for (int number = 0; number < 12; number++)
    initial_[kStrays].push_back(object("Grant", "guest-bob", "stray-" + std::to_string(100 + number)));
  open();
  ASSERT_TRUE(until([](const DesiredState& desired) { return !desired.problems.empty(); }));
  EXPECT_THAT(desired_->grants, IsEmpty());
  ASSERT_EQ(desired_->problems.size(), 11U);
  EXPECT_THAT(desired_->problems[0].text(),
              testing::AllOf(HasSubstr("Grant guest-bob/stray-100"), HasSubstr("metadata.namespace"),
                             HasSubstr("it grants nothing"), HasSubstr("keystone-system")));
  EXPECT_THAT(desired_->problems[10].text(), HasSubstr("2 more"));
  for (const Json& each : initial_[kStrays]) stream(kStrays).write(api_event("DELETED", each));
  EXPECT_TRUE(until([](const DesiredState& desired) { return desired.problems.empty(); }));
}

// What is followed no longer takes its revisions along; a sum that was there before would hide a change.
TEST_F(KubernetesSourceTest, GuestsElsewhereThatAreKnownAgainAreNoticed) {
  PodsElsewhere pods("node-a", 1);
  std::set<std::uint64_t> seen;
  for (int times = 0; times < 3; times++) {
    ASSERT_TRUE(follow(pods, {"guest-bob"}, [&] { return pods.settled(now()) && guests(pods).size() == 1; }));
    EXPECT_TRUE(seen.insert(pods.revision(now())).second);
    pods.want({}, *client_, now());
    EXPECT_TRUE(seen.insert(pods.revision(now())).second);
    EXPECT_THAT(guests(pods), IsEmpty());
    cut();
  }
}

// Who has gone meanwhile may have left its address to another pod, which must not be taken for a guest.
TEST_F(KubernetesSourceTest, GuestsElsewhereThatCannotBeFollowedAreBelievedForAMinute) {
  PodsElsewhere pods("node-a", 1);
  ASSERT_TRUE(follow(pods, {"guest-bob"}, [&] { return guests(pods).size() == 1; }));
  EXPECT_EQ(guests(pods, 1h).size(), 1U) << "while it is followed";
  EXPECT_EQ(pods.due(now()), ApiTime::max());
  const std::uint64_t followed = pods.revision(now());
  EXPECT_EQ(pods.revision(now() + 1h), followed);
  refused_ = {kElsewhere};
  cut();
  ASSERT_TRUE(follow(pods, {"guest-bob"}, [&] { return pods.counters(now())->lag(now()) > 0ms; }));
  EXPECT_EQ(guests(pods, 55s).size(), 1U);
  EXPECT_EQ(pods.revision(now() + 55s), followed);
  EXPECT_THAT(pods.doubted(now() + 55s), IsEmpty());
  EXPECT_GT(pods.due(now()), now() + 55s);
  EXPECT_LE(pods.due(now()), now() + 60s);
  EXPECT_THAT(guests(pods, 60s), IsEmpty());
  EXPECT_THAT(pods.doubted(now() + 60s), testing::ElementsAre("guest-bob"));
  const std::uint64_t lapsed = pods.revision(now() + 60s);
  EXPECT_NE(lapsed, followed);
  EXPECT_EQ(pods.revision(now() + 2h), lapsed);
  refused_ = {};
  ASSERT_TRUE(follow(pods, {"guest-bob"}, [&] { return pods.counters(now())->current(now()); }));
  EXPECT_EQ(guests(pods, 1h).size(), 1U);
  EXPECT_NE(pods.revision(now()), lapsed);
  EXPECT_NE(pods.revision(now()), followed) << "what has turned back is news too";
}

TEST_F(KubernetesSourceTest, GuestsElsewhereThatAreBelievedNoLongerAreNoticedAtOnceAndToldOf) {
  believed_ = 3000ms;
  open();
  ASSERT_TRUE(until(any));
  ASSERT_EQ(desired_->elsewhere.size(), 1U);
  refused_ = {kElsewhere};
  stream(kElsewhere).cut();
  const auto none = [](const DesiredState& desired) { return desired.elsewhere.empty(); };
  EXPECT_FALSE(until(none, 1s)) << "a stream may end";
  EXPECT_THAT(troubles(), Not(Contains(HasSubstr("are nobody here"))));
  ASSERT_TRUE(until(none, 5s));
  EXPECT_EQ(desired_->workloads.size(), 1U) << "those of this node are held as before";
  EXPECT_THAT(troubles(), Contains(testing::AllOf(HasSubstr("namespace guest-bob"), HasSubstr("are nobody here"))));
  refused_ = {};
  ASSERT_TRUE(until([](const DesiredState& desired) { return desired.elsewhere.size() == 1; }, 20s));
  EXPECT_THAT(troubles(), Not(Contains(HasSubstr("are nobody here"))));
}

}  // namespace
}  // namespace grantd
