// Records of a pod, and what this kernel says of them.
#include "agent/guests/guest_finder.h"
#include "agent/guests/cri/cri_socket.h"
#include "agent/guests/netlink_peer.h"
#include "agent/node/interfaces.h"
#include "tests/kernel/sandbox.h"
#include "tests/unit/cri_server.h"
#include "tests/unit/temporary_directory.h"

#include <agent/guests/cri/cri.pb.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <set>

namespace grantd::test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

IpAddress address(const char* text) { return IpAddress::parse(text).value(); }

// Two pods of the same addresses inside their ends: kf-a and kf-b.
class GuestFinderTest : public testing::Test {
 protected:
  GuestFinderTest() {
    for (const std::string which : {"a", "b"}) {
      const std::string in = "ip -n kf-" + which + " ";
      EXPECT_TRUE(run("ip netns add kf-" + which + " && ip link add kf-" + which +
                      " type veth peer name eth0 netns kf-" + which + " && " + in +
                      "addr add 10.42.0.7/24 dev eth0 && " + in + "addr add fd00::7/64 dev eth0 nodad && " + in +
                      "link set eth0 up && ip link set kf-" + which + " up"));
    }
    guest_.name = "guest-bob/web";
    guest_.pod.emplace().uid = "uid-1";
    guest_.pod->node_uid = "uid-1";
    record_.container_id = "c0ffee";
    record_.ifname = "eth0";
    record_.netns = "/run/netns/kf-a";
    record_.pod_namespace = "guest-bob";
    record_.pod_name = "web";
    record_.pod_uid = "uid-1";
    record_.host_interface = "kf-a";
    record_.ifindex = index_of("kf-a");
    record_.addresses = {address("10.42.0.7"), address("fd00::7")};
  }
  ~GuestFinderTest() override {
    run("ip link del kf-a 2>/dev/null; ip link del kf-b 2>/dev/null; ip netns del kf-a; ip netns del kf-b");
  }

  std::string records() const { return directory_.path("records"); }
  std::vector<PodInterface> found(GuestFinder& finder) {
    NodeFacts node;
    node.interfaces = read_interfaces().value();
    finder.find({guest_}, node);
    return node.pod_interfaces["uid-1"];
  }
  std::vector<PodInterface> found() {
    EXPECT_TRUE(write_cni_record(records(), record_));
    auto finder = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
    EXPECT_TRUE(finder.ok());
    return found(finder.value());
  }

  TemporaryDirectory directory_;
  Workload guest_;
  CniRecord record_;
};

TEST_F(GuestFinderTest, ARecordThatIsTrueIsWithoutDoubt) {
  EXPECT_THAT(found(), ElementsAre(PodInterface{index_of("kf-a"), record_.addresses, ""}));
}

TEST_F(GuestFinderTest, ARecordThatNamesAnothersInterfaceDoesNotReachIt) {
  record_.host_interface = "kf-b";
  record_.ifindex = index_of("kf-b");
  const auto all = found();
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(all[0].ifindex, index_of("kf-a"));
  EXPECT_NE(all[0].doubt, "");
}

TEST_F(GuestFinderTest, AnAddressThatIsNotThereIsADoubt) {
  record_.addresses.push_back(address("10.42.0.8"));
  ASSERT_EQ(found().size(), 1U);
  EXPECT_THAT(found()[0].doubt, HasSubstr("10.42.0.8 is on record and not behind kf-a"));
}

// Sockets of NETLINK_ROUTE that this process has.
std::set<int> netlink_sockets() {
  std::set<int> found;
  for (int fd = 0; fd < 1024; fd++) {
    int protocol = 0, domain = 0;
    socklen_t bytes = sizeof(int);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_NETLINK &&
        getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &bytes) == 0 && protocol == NETLINK_ROUTE)
      found.insert(fd);
  }
  return found;
}

TEST_F(GuestFinderTest, AQuestionThatCannotBeAskedIsNotTheEndOfAsking) {
  ASSERT_TRUE(write_cni_record(records(), record_));
  const std::set<int> before = netlink_sockets();
  auto opened = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
  ASSERT_TRUE(opened.ok());
  std::vector<int> its;
  std::ranges::set_difference(netlink_sockets(), before, std::back_inserter(its));
  ASSERT_EQ(its.size(), 1U);
  const Descriptor kept(dup(its[0])), nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ASSERT_EQ(dup2(nothing.get(), its[0]), its[0]);
  const auto without = found(opened.value());
  ASSERT_EQ(dup2(kept.get(), its[0]), its[0]);
  EXPECT_TRUE(without.empty() || !without[0].doubt.empty());
  EXPECT_THAT(found(opened.value()), ElementsAre(PodInterface{index_of("kf-a"), record_.addresses, ""}));
}

TEST_F(GuestFinderTest, ANetworkNamespaceThatIsGoneLeavesADoubt) {
  record_.netns = "/run/netns/kf-none";
  ASSERT_EQ(found().size(), 1U);
  EXPECT_THAT(found()[0].doubt, HasSubstr("cannot be opened: open"));
}

TEST_F(GuestFinderTest, OneOfAnOlderPodIsNotLookedAt) {
  record_.pod_uid = "uid-0";
  EXPECT_THAT(found(), IsEmpty());
  // Where the runtime tells no uid, the API server's addresses must agree.
  record_.pod_uid = "";
  EXPECT_THAT(found(), IsEmpty());
  guest_.addresses = {address("10.42.0.7")};
  EXPECT_EQ(found().size(), 1U);
}

TEST_F(GuestFinderTest, WhatCannotBeReadForAWhileStaysKnown) {
  ASSERT_TRUE(write_cni_record(records(), record_));
  auto finder = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
  ASSERT_TRUE(finder.ok());
  ASSERT_EQ(found(finder.value()).size(), 1U);
  const auto drained = [&] {
    for (int attempt = 0; attempt < 200 && !finder.value().drain(); attempt++) EXPECT_TRUE(run("sleep 0.01"));
  };
  // No directory: it cannot be listed.
  ASSERT_TRUE(run("mv " + records() + " " + records() + ".away && touch " + records()));
  drained();
  EXPECT_EQ(found(finder.value()).size(), 1U);
  EXPECT_THAT(finder.value().closed_pods(), ElementsAre("uid-1"));
  EXPECT_FALSE(finder.value().problems().empty());
  // Read again without a word of the directory, and then what is gone is gone.
  ASSERT_TRUE(run("rm " + records() + " && mv " + records() + ".away " + records()));
  EXPECT_EQ(found(finder.value()).size(), 1U);
  EXPECT_TRUE(finder.value().problems().empty());
  ASSERT_TRUE(run("rm -r " + records()));
  drained();
  EXPECT_THAT(finder.value().closed_pods(), IsEmpty());
  EXPECT_THAT(found(finder.value()), IsEmpty());
}

TEST_F(GuestFinderTest, ARecordThatComesLaterIsSeen) {
  auto finder = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
  ASSERT_TRUE(finder.ok());
  EXPECT_THAT(found(finder.value()), IsEmpty());
  ASSERT_TRUE(write_cni_record(records(), record_));
  EXPECT_THAT(finder.value().closed_pods(), IsEmpty());
  for (int attempt = 0; attempt < 200 && !finder.value().drain(); attempt++) ASSERT_TRUE(run("sleep 0.01"));
  EXPECT_THAT(finder.value().closed_pods(), ElementsAre("uid-1"));
  EXPECT_EQ(found(finder.value()).size(), 1U);
}

TEST_F(GuestFinderTest, ADamagedRecordIsToldAndHidesNoOther) {
  ASSERT_TRUE(write_cni_record(records(), record_));
  ASSERT_TRUE(run("echo '{' > " + records() + "/bad:eth0.json"));
  auto finder = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
  ASSERT_TRUE(finder.ok());
  EXPECT_EQ(found(finder.value()).size(), 1U);
  ASSERT_EQ(finder.value().problems().size(), 1U);
  EXPECT_THAT(finder.value().problems()[0].text(), HasSubstr("bad:eth0"));
}

TEST_F(GuestFinderTest, AStaticPodIsFoundByTheUidThatItsNodeKnows) {
  guest_.pod->node_uid = "uid-of-the-node";
  EXPECT_THAT(found(), IsEmpty());
  record_.pod_uid = "uid-of-the-node";
  EXPECT_THAT(found(), ElementsAre(PodInterface{index_of("kf-a"), record_.addresses, ""}));
}

TEST_F(GuestFinderTest, APodOfAGuestsNamespaceThatIsUnknownIsToldOfAfterAWhile) {
  ASSERT_TRUE(write_cni_record(records(), record_));
  auto opened = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
  ASSERT_TRUE(opened.ok());
  GuestFinder& finder = opened.value();
  const auto told = [&](const std::vector<Workload>& guests, const std::string& space, BootNanoseconds now) {
    NodeFacts node;
    finder.find(guests, node);
    finder.look_for_unknown(guests, now, [&](const std::string& name) { return name == space; });
    return finder.problems();
  };
  const BootNanoseconds later = 1 + GuestFinder::kUnknownFor;
  EXPECT_THAT(told({}, "guest-bob", 1), IsEmpty()) << "it may have come just now";
  EXPECT_THAT(told({}, "guest-carol", later), IsEmpty());
  EXPECT_THAT(told({}, "guest-bob", 1), IsEmpty());
  ASSERT_EQ(told({}, "guest-bob", later).size(), 1U);
  EXPECT_THAT(finder.problems()[0].text(), HasSubstr("Pod guest-bob/web: runs in a guests' namespace"));
  EXPECT_THAT(told({guest_}, "guest-bob", later), IsEmpty());
  told({}, "guest-bob", later);
  ASSERT_TRUE(run("ip netns del kf-a && ip netns add kf-a"));
  EXPECT_THAT(told({}, "guest-bob", 2 * later), IsEmpty()) << "its network is gone";
}

TEST_F(GuestFinderTest, APodThatHasLostItsInterfaceMayBeEndingForAWhile) {
  auto finder = GuestFinder::open(records(), directory_.path("cache"), kNoCriSocket);
  ASSERT_TRUE(finder.ok());
  guest_.addresses = record_.addresses;
  NodeFacts node;
  const auto lately = [&](BootNanoseconds now) {
    finder.value().look_for_unfound({guest_}, node, now);
    return node.unfound_lately;
  };
  const BootNanoseconds later = 1 + GuestFinder::kUnfoundFor;
  EXPECT_THAT(lately(1), ElementsAre("uid-1"));
  EXPECT_THAT(lately(later), IsEmpty());
  node.pod_interfaces["uid-1"] = {{index_of("kf-a"), record_.addresses, ""}};
  EXPECT_THAT(lately(later), IsEmpty()) << "found";
  node.pod_interfaces.clear();
  EXPECT_THAT(lately(later), ElementsAre("uid-1")) << "lost anew";
  guest_.addresses.clear();
  EXPECT_THAT(lately(later), IsEmpty()) << "it has no network yet";
}

// What the container runtime says counts where no record tells, and is believed as little.
TEST_F(GuestFinderTest, TheRuntimesWordIsHeldAgainstTheKernelToo) {
  const auto ask = [this](const std::string& host_interface, const std::string& address) {
    runtime::v1::ListPodSandboxResponse list;
    list.add_items()->set_id("c0ffee");
    list.mutable_items(0)->mutable_metadata()->set_uid("uid-1");
    runtime::v1::PodSandboxStatusResponse status;
    auto& metadata = *status.mutable_status()->mutable_metadata();
    metadata.set_uid("uid-1");
    metadata.set_namespace_("guest-bob");
    metadata.set_name("web");
    status.mutable_status()->mutable_network()->set_ip(address);
    (*status.mutable_info())["info"] = R"({"runtimeSpec":{"linux":{"namespaces":[{"type":"network",
        "path":"/run/netns/kf-a"}]}},"cniResult":{"Interfaces":{")" +
                                       host_interface + R"(":{"Sandbox":""}}}})";
    CriServer server(directory_.path("cri.sock"), [&](int call) {
      return CriAnswer{.message = call % 2 == 0 ? list.SerializeAsString() : status.SerializeAsString()};
    });
    auto finder = GuestFinder::open(records(), directory_.path("cache"), directory_.path("cri.sock"));
    EXPECT_TRUE(finder.ok());
    EXPECT_THAT(found(finder.value()), IsEmpty()) << "nobody has been asked yet";
    for (int attempt = 0; attempt < 500 && !finder.value().drain(); attempt++) EXPECT_TRUE(run("sleep 0.01"));
    return found(finder.value());
  };
  EXPECT_THAT(ask("kf-a", "10.42.0.7"), ElementsAre(PodInterface{index_of("kf-a"), {address("10.42.0.7")}, ""}));
  const auto lies = ask("kf-b", "10.42.0.7");
  ASSERT_EQ(lies.size(), 1U);
  EXPECT_EQ(lies[0].ifindex, index_of("kf-a"));
  EXPECT_THAT(lies[0].doubt, HasSubstr("no address of kf-a is on record"));
  EXPECT_THAT(ask("kf-a", "10.42.0.8")[0].doubt, HasSubstr("10.42.0.8 is on record and not behind kf-a"));
}

}  // namespace
}  // namespace grantd::test
