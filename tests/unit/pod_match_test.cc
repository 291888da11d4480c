// From what others have written down of a pod to its interface: nothing counts that the kernel does not confirm.
#include "agent/guests/cni_cache.h"
#include "agent/guests/match.h"
#include "tests/unit/temporary_directory.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

IpAddress address(const std::string& text) { return IpAddress::parse(text).value(); }

class FakeKernel final : public PeerKernel {
 public:
  std::map<std::string, int> ids;
  std::map<std::pair<int, std::uint32_t>, std::vector<IpAddress>> behind;

  Result<int> netns_id(const std::string& path) override {
    const auto found = ids.find(path);
    if (found == ids.end()) return Error{"open: No such file or directory", ENOENT};
    return found->second;
  }
  Result<std::vector<IpAddress>> addresses(int netns_id, std::uint32_t ifindex) override {
    const auto found = behind.find({netns_id, ifindex});
    if (found == behind.end()) return Error{"no such interface", ENODEV};
    return found->second;
  }
};

class PodMatchTest : public testing::Test {
 protected:
  PodMatchTest() {
    interfaces_ = {veth("veth-a", 10, 3), veth("veth-b", 11, 4), veth("veth-c", 12, -1)};
    kernel_.ids = {{"/run/netns/a", 3}, {"/run/netns/b", 4}, {"/run/netns/new", -1}};
    kernel_.behind = {{{3, 2}, {address("10.42.0.7"), address("10.42.0.77")}}, {{4, 2}, {address("10.42.0.8")}}};
    record_.pod_namespace = "guest-bob";
    record_.pod_name = "web";
    record_.netns = "/run/netns/a";
    record_.host_interfaces = {"veth-a"};
    record_.addresses = {address("10.42.0.7")};
  }
  static InterfaceFact veth(const std::string& name, std::uint32_t ifindex, int netns_id) {
    InterfaceFact fact;
    fact.name = name;
    fact.ifindex = ifindex;
    fact.peer_ifindex = 2;
    fact.peer_netns_id = netns_id;
    return fact;
  }
  std::vector<PodInterface> found() { return match_pod({record_}, interfaces_, kernel_); }

  FakeKernel kernel_;
  std::vector<InterfaceFact> interfaces_;
  PodRecord record_;
};

TEST_F(PodMatchTest, OneThatTheKernelConfirmsIsWithoutDoubt) {
  EXPECT_THAT(found(), ElementsAre(PodInterface{10, {address("10.42.0.7")}, ""}));
}

TEST_F(PodMatchTest, ARecordThatNamesAnothersInterfaceFindsItsOwn) {
  record_.host_interfaces = {"veth-b"};
  const auto all = found();
  ASSERT_EQ(all.size(), 1U) << "veth-b leads into another network namespace";
  EXPECT_EQ(all[0].ifindex, 10U);
  EXPECT_THAT(all[0].doubt, HasSubstr("no address of veth-a is on record"));
}

TEST_F(PodMatchTest, AnAddressThatIsNotThereIsADoubt) {
  record_.addresses = {address("10.42.0.8")};
  ASSERT_EQ(found().size(), 1U);
  EXPECT_THAT(found()[0].doubt, HasSubstr("10.42.0.8 is on record and not behind veth-a"));
}

TEST_F(PodMatchTest, AnIndexOfAnotherTimeDoesNotCount) {
  record_.ifindex = 99;
  ASSERT_EQ(found().size(), 1U);
  EXPECT_NE(found()[0].doubt, "");
  record_.ifindex = 10;
  EXPECT_EQ(found()[0].doubt, "");
}

TEST_F(PodMatchTest, ANamespaceThatIsGoneLeavesTheNamedInterfaceInDoubt) {
  record_.netns = "/run/netns/gone";
  ASSERT_EQ(found().size(), 1U);
  EXPECT_EQ(found()[0].ifindex, 10U);
  EXPECT_THAT(found()[0].doubt, HasSubstr("cannot be opened"));
}

TEST_F(PodMatchTest, NamespacesWithoutAnIdAreNotTakenForOneAnother) {
  record_.netns = "/run/netns/new";
  record_.host_interfaces = {"veth-c"};
  EXPECT_THAT(found(), IsEmpty());
}

TEST_F(PodMatchTest, EveryInterfaceOfItsNamespaceIsThePods) {
  interfaces_.push_back(veth("veth-d", 13, 3));
  const auto all = found();
  ASSERT_EQ(all.size(), 2U);
  EXPECT_EQ(all[0].doubt, "");
  EXPECT_THAT(all[1].doubt, HasSubstr("no address of veth-d is on record")) << "known by nobody, so closed";
}

TEST_F(PodMatchTest, MoreAddressesThanCanBeHeldAreADoubt) {
  for (const std::string prefix : {"10.42.1.", "fd00::"}) {
    record_.addresses.clear();
    for (int number = 1; number <= 4; number++) record_.addresses.push_back(address(prefix + std::to_string(number)));
    kernel_.behind[{3, 2}] = record_.addresses;
    EXPECT_EQ(found()[0].doubt, "") << prefix;
    record_.addresses.push_back(address(prefix + "5"));
    kernel_.behind[{3, 2}] = record_.addresses;
    EXPECT_THAT(found()[0].doubt, HasSubstr("more addresses than the 4")) << prefix;
  }
}

TEST_F(PodMatchTest, ARecordThatNamesNoInterfaceIsOfTheOnlyOneAlone) {
  record_.host_interfaces.clear();
  EXPECT_THAT(found(), ElementsAre(PodInterface{10, {address("10.42.0.7")}, ""}));
  PodRecord other = record_;
  other.addresses = {address("10.42.0.77")};
  for (const auto& records : {std::vector{record_, other}, std::vector{other, record_}}) {
    const auto all = match_pod(records, interfaces_, kernel_);
    ASSERT_EQ(all.size(), 1U);
    EXPECT_THAT(all[0].doubt, HasSubstr("no address of veth-a is on record")) << "which of two it is, nobody says";
  }
}

TEST_F(PodMatchTest, OfTwoRecordsTheOneThatNamesItCounts) {
  PodRecord other = record_;
  other.host_interfaces = {"veth-x"};
  other.addresses = {address("10.42.0.77")};
  for (const auto& records : {std::vector{record_, other}, std::vector{other, record_}})
    EXPECT_THAT(match_pod(records, interfaces_, kernel_), ElementsAre(PodInterface{10, {address("10.42.0.7")}, ""}));
}

TEST_F(PodMatchTest, TwoRecordsThatAgreeAreOne) {
  PodRecord other = record_;
  other.ifindex = 10;
  other.pod_uid = "uid-1";
  for (const auto& records : {std::vector{record_, other}, std::vector{other, record_}})
    EXPECT_THAT(match_pod(records, interfaces_, kernel_), ElementsAre(PodInterface{10, {address("10.42.0.7")}, ""}));
}

// As containerd 1.6 leaves them for the plugins ptp and portmap.
constexpr const char* kResult = R"({"kind":"cniCacheV1","containerId":"f00","config":"e30=","ifName":"eth0",
"networkName":"e2e","cniArgs":[["IgnoreUnknown","1"],["K8S_POD_NAMESPACE","guest-bob"],["K8S_POD_NAME","web"],
["K8S_POD_INFRA_CONTAINER_ID","f00"],["K8S_POD_UID","0a-1b"]],"capabilityArgs":{"portMappings":[]},
"result":{"cniVersion":"1.0.0","dns":{},"interfaces":[{"mac":"a6:0f:00:00:00:01","name":"veth1234"},
{"mac":"a6:0f:00:00:00:02","name":"eth0","sandbox":"/run/netns/cni-1"}],
"ips":[{"address":"10.42.0.7/24","gateway":"10.42.0.1","interface":1}],"routes":[{"dst":"0.0.0.0/0"}]}})";

TEST(CniCache, SaysWhoseEachInterfaceIs) {
  const auto record = parse_cni_result(kResult);
  ASSERT_TRUE(record);
  EXPECT_EQ(record->pod_namespace + "/" + record->pod_name + " " + record->pod_uid, "guest-bob/web 0a-1b");
  EXPECT_EQ(record->netns, "/run/netns/cni-1");
  EXPECT_THAT(record->host_interfaces, ElementsAre("veth1234"));
  EXPECT_THAT(record->addresses, ElementsAre(address("10.42.0.7")));
}

TEST(CniCache, WhatIsNoResultOfAPodIsNone) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"kind":"cniCacheV2"})", R"({"kind":"cniCacheV1","cniArgs":7,"result":7})",
        R"({"kind":"cniCacheV1","cniArgs":[["K8S_POD_NAME"]],"result":{}})"})
    EXPECT_FALSE(parse_cni_result(text)) << text;
  std::string loopback = kResult;
  EXPECT_TRUE(parse_cni_result(loopback));
  loopback.replace(loopback.find("\"ifName\":\"eth0\""), 15, "\"ifName\":\"lo\"");
  EXPECT_FALSE(parse_cni_result(loopback)) << "its addresses are nobody's";
}

TEST(CniCache, AHalfWrittenFileHidesNoOther) {
  TemporaryDirectory directory;
  directory.write("a", std::string(kResult).substr(0, 200));
  directory.write("b", kResult);
  EXPECT_EQ(read_cni_cache(directory.path()).records.size(), 1U);
  EXPECT_THAT(read_cni_cache(directory.path("none")).records, IsEmpty());
}

}  // namespace
}  // namespace grantd
