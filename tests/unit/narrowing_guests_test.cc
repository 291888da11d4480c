// A guest whose record is to say less and cannot be written is closed; one that is to have more keeps what it has.
#include "agent/plan/encode.h"
#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct GuestChange {
  const char* what;
  std::function<void(DesiredState&)> change;  // of guest web under Grant g at veth-a (10), with two addresses
};

void PrintTo(const GuestChange& change, std::ostream* out) { *out << change.what; }

class GuestNarrowingTest : public PlanTest, public testing::WithParamInterface<GuestChange> {
 protected:
  DesiredState before() {
    DesiredState desired = with_grant();
    desired.grants.push_back(desired::grant("h", {"203.0.113.0/24"}));
    desired.workloads[0] = desired::workload("web", "g", "veth-a", {"10.20.0.2", "fd00:20::2"});
    return desired;
  }
  DesiredState after() {
    DesiredState desired = before();
    GetParam().change(desired);
    return desired;
  }
  const std::map<std::uint32_t, grantd_endpoint>& endpoints() { return kernel_.state().endpoints; }
};

class GuestNarrower : public GuestNarrowingTest {};
class GuestAsWide : public GuestNarrowingTest {};

TEST_P(GuestNarrower, ClosesWhereItsRecordCannotBeWritten) {
  for (const char* operation : {"put_endpoint", "put_node"}) {
    ASSERT_TRUE(converge(before()).complete());
    ASSERT_THAT(endpoints(), SizeIs(1)) << "the control";
    const grantd_endpoint open = endpoints().begin()->second;
    ASSERT_NE(open.slot, 0U);
    kernel_.fail(operation);
    const ApplyReport report = converge(after());
    EXPECT_THAT(report.closed_guests, ElementsAre(open.endpoint_id)) << operation;
    EXPECT_FALSE(report.failed.empty());
    EXPECT_THAT(endpoints(), IsEmpty()) << operation;
    if (operation == std::string("put_endpoint")) {
      EXPECT_EQ(kernel_.state().published.size(), 2U) << "no Grant closes for it";
    }
    kernel_.fail("");
    pass(std::chrono::seconds(1));
    ASSERT_TRUE(converge(after()).complete());
    EXPECT_THAT(names(next(after())), IsEmpty());
    EXPECT_THAT(kernel_.violations(), IsEmpty());
  }
}

const GuestChange kNarrower[] = {
    {"another Grant", [](DesiredState& desired) { desired.workloads[0].grant = "h"; }},
    {"no Grant", [](DesiredState& desired) { desired.workloads[0].grant = "none"; }},
    {"gone", [](DesiredState& desired) { desired.workloads.clear(); }},
    {"another guest", [](DesiredState& desired) { desired.workloads[0].name = "db"; }},
    {"an IPv4 address less",
     [](DesiredState& desired) { desired.workloads[0].addresses.erase(desired.workloads[0].addresses.begin()); }},
    {"an IPv6 address less", [](DesiredState& desired) { desired.workloads[0].addresses.pop_back(); }},
    {"another address",
     [](DesiredState& desired) { desired.workloads[0].addresses[0] = desired::address("10.20.0.9"); }},
    {"another MAC address",
     [](DesiredState& desired) {
       desired.workloads[0].mac = MacAddress{{2, 0, 0, 0, 0, 9}};
     }},
};
INSTANTIATE_TEST_SUITE_P(Each, GuestNarrower, testing::ValuesIn(kNarrower));

TEST_P(GuestAsWide, KeepsWhatItHas) {
  ASSERT_TRUE(converge(before()).complete());
  const grantd_endpoint open = endpoints().begin()->second;
  kernel_.fail("put_endpoint");
  const ApplyReport report = converge(after());
  EXPECT_FALSE(report.failed.empty()) << "the control";
  EXPECT_THAT(report.closed_guests, IsEmpty());
  ASSERT_THAT(endpoints(), SizeIs(1));
  EXPECT_TRUE(same_bytes(endpoints().begin()->second, open));
}

const GuestChange kAsWide[] = {
    {"an address more",
     [](DesiredState& desired) { desired.workloads[0].addresses.push_back(desired::address("10.20.0.3")); }},
    {"an address before the others",
     [](DesiredState& desired) {
       desired.workloads[0].addresses.insert(desired.workloads[0].addresses.begin(), desired::address("10.20.0.1"));
     }},
};
INSTANTIATE_TEST_SUITE_P(Each, GuestAsWide, testing::ValuesIn(kAsWide));

// A step that bears no number need not wait until numbers can be written down.
TEST_F(PlanTest, ANewGuestIsHeldAlsoWhereTheNodesRecordCannotBeWritten) {
  kernel_.fail("put_node");
  EXPECT_FALSE(converge(with_grant()).complete());
  EXPECT_THAT(kernel_.state().attachments,
              testing::IsSupersetOf({Attachment{Hook::FromGuest, 10, 0}, Attachment{Hook::ToGuest, 10, 0}}));
  EXPECT_THAT(kernel_.state().endpoints, IsEmpty()) << "so nothing of it passes";
  kernel_.fail("");
  EXPECT_TRUE(converge(with_grant()).complete());
}

TEST_F(PlanTest, AnUplinkThatIsToBelieveOthersBelievesNobodyWhereTheNodesRecordCannotBeWritten) {
  ASSERT_TRUE(converge(with_grant()).complete());
  ASSERT_EQ(kernel_.state().uplinks.at(2).uplink_class, GRANTD_UPLINK_LAN) << "the control";
  node_.uplink_rules = {{"eth*", UplinkClass::Tailnet}};
  DesiredState desired = with_grant();
  desired.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));  // takes a number
  kernel_.fail("put_node");
  EXPECT_FALSE(converge(desired).complete());
  EXPECT_EQ(kernel_.state().uplinks.at(2).uplink_class, GRANTD_UPLINK_UNTRUSTED);
  kernel_.fail("");
  ASSERT_TRUE(converge(desired).complete());
  EXPECT_EQ(kernel_.state().uplinks.at(2).uplink_class, GRANTD_UPLINK_TAILNET);
}

// What is for people alone closes nobody.
TEST_F(PlanTest, AGuestWhoseNameCannotBeWrittenIsNarrowedAllTheSame) {
  DesiredState desired = with_grant();
  desired.workloads[0] = desired::workload("web", "g", "veth-a", {"10.20.0.2", "fd00:20::2"});
  ASSERT_TRUE(converge(desired).complete());
  const grantd_endpoint before = kernel_.state().endpoints.at(10);
  desired.workloads[0].addresses.pop_back();
  desired.workloads[0].position.line++;
  kernel_.fail("put_guest");
  const ApplyReport report = converge(desired);
  EXPECT_FALSE(report.failed.empty()) << "the control";
  EXPECT_THAT(report.closed_guests, IsEmpty());
  const grantd_endpoint& after = kernel_.state().endpoints.at(10);
  EXPECT_EQ(after.slot, before.slot);
  EXPECT_TRUE(same_bytes(after.ipv6[0], grantd_address{}));
}

TEST_F(PlanTest, AGuestOnTheHostNetworkThatCannotBeNarrowedIsClosed) {
  node_.cgroup_ids["/guest"] = 7;
  DesiredState desired = with_grant();
  desired.workloads[0] = desired::workload("web", "g", "", {});
  desired.workloads[0].cgroup = "/guest";
  ASSERT_TRUE(converge(desired).complete());
  ASSERT_THAT(kernel_.state().host_guests, SizeIs(1)) << "the control";
  ASSERT_NE(kernel_.state().host_guests.at(7).slot, 0U);
  desired.workloads[0].grant = "none";
  kernel_.fail("put_host_guest");
  EXPECT_THAT(converge(desired).closed_guests, SizeIs(1));
  EXPECT_THAT(kernel_.state().host_guests, IsEmpty());
}

}  // namespace
}  // namespace grantd
