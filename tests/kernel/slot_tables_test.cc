// The tables of a slot: what stands in the arrays of maps beside what is pinned as the slot's own.
#include "agent/attach/cgroups.h"
#include "agent/ctl/verify/hangs_together.h"
#include "agent/snapshot/read_snapshot.h"
#include "tests/kernel/private_node.h"

#include <bpf/bpf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

namespace grantd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class SlotTables : public testing::Test {
 protected:
  std::uint32_t slot_of(const std::string& interface) {
    auto record = node_.maps().endpoint.find(node_.ifindex(interface));
    EXPECT_TRUE(record.ok() && record.value());
    return record.value()->slot;
  }
  // What grantctl verify says of tables.
  std::vector<std::string> wrong() {
    auto snapshot = read_snapshot(node_.maps(), {});
    EXPECT_TRUE(snapshot.ok());
    auto lines = hangs_together(node_.pin_root(), node_.maps(), snapshot.value());
    EXPECT_TRUE(lines.ok()) << lines.error().message;
    std::erase_if(lines.value(), [](const std::string& line) { return line.find("table in ") == std::string::npos; });
    return lines.value();
  }
  void put(const TypedMap<__u32, __u32>& outer, std::uint32_t slot, const std::string& pin) {
    const Descriptor table(bpf_obj_get(pin.c_str()));
    ASSERT_TRUE(table.valid()) << pin;
    ASSERT_TRUE(outer.put(slot, static_cast<__u32>(table.get())).ok());
  }

  PrivateNode node_;
};

TEST_F(SlotTables, AnotherGrantsTableIsToldOfCountedAndReplaced) {
  const std::uint32_t bob = slot_of("veth-bob-web"), carol = slot_of("veth-carol-web");
  ASSERT_TRUE(bob != 0 && carol != 0 && bob != carol);
  EXPECT_EQ(node_.drift(), 0U) << "the control";
  for (const auto* outer : {&node_.maps().counter, &node_.maps().flow, &node_.maps().frag}) {
    const std::string name = outer->raw().name();
    SCOPED_TRACE(name);
    EXPECT_THAT(wrong(), IsEmpty()) << "the control";
    put(*outer, bob, table_pin(node_.pin_root(), name, carol));
    ASSERT_EQ(outer->find(bob).value(), outer->find(carol).value());
    EXPECT_THAT(wrong(), ElementsAre("Grant keystone-system/bob: its table in " + name +
                                     " is not the one that is pinned as its own"));
    EXPECT_EQ(node_.drift(), 1U);
    node_.apply();
    EXPECT_NE(outer->find(bob).value(), outer->find(carol).value());
    EXPECT_EQ(outer->find(bob).value(), node_.maps().pinned_table(*outer, bob).value());
    EXPECT_EQ(node_.drift(), 0U);
  }
  EXPECT_THAT(wrong(), IsEmpty());
}

TEST_F(SlotTables, TheQuarantinesCountersAreHeldToTheirPinToo) {
  const TypedMap<__u32, __u32>& counter = node_.maps().counter;
  put(counter, 0, table_pin(node_.pin_root(), "grantd_counter", slot_of("veth-bob-web")));
  EXPECT_THAT(wrong(),
              ElementsAre("Grant (quarantine): its table in grantd_counter is not the one that is pinned as its "
                          "own"));
  EXPECT_EQ(node_.drift(), 1U);
  node_.apply();
  EXPECT_THAT(wrong(), IsEmpty());
}

// Of the host network, under a Grant of its own.
class SlotTablesOfAHostGuest : public SlotTables {
 protected:
  SlotTablesOfAHostGuest() {
    std::filesystem::create_directory(cgroup_root() + kCgroup);
    Workload host;
    host.name = "host";
    host.grant = "keystone-system/dave";
    host.cgroup = kCgroup;
    Grant dave = node_.desired().grants.front();
    dave.name = dave.spec_hash = "dave";
    node_.desired().grants.push_back(dave);
    node_.desired().workloads.push_back(host);
    node_.facts().cgroup_ids[kCgroup] = cgroup_id(kCgroup).value();
    node_.apply();
  }
  ~SlotTablesOfAHostGuest() override { std::filesystem::remove(cgroup_root() + kCgroup); }

  const std::string kCgroup = "/grantd-slot-tables-test-" + std::to_string(getpid());
};

TEST_F(SlotTablesOfAHostGuest, AnotherGrantsTableIsToldOf) {
  const std::uint32_t dave = node_.maps().hostguest.find(cgroup_id(kCgroup).value()).value()->slot;
  ASSERT_NE(dave, 0U);
  ASSERT_THAT(wrong(), IsEmpty()) << "the control";
  put(node_.maps().flow, dave, table_pin(node_.pin_root(), "grantd_flow", slot_of("veth-bob-web")));
  EXPECT_THAT(wrong(), ElementsAre("Grant keystone-system/dave: its table in grantd_flow is not the one that is pinned "
                                   "as its own"));
}

// As before: who may open a table by its id needs no pin.
TEST_F(SlotTables, ATableWithoutAPinStays) {
  const std::uint32_t bob = slot_of("veth-bob-web");
  const auto before = node_.maps().flow.find(bob).value();
  ASSERT_EQ(unlink(table_pin(node_.pin_root(), "grantd_flow", bob).c_str()), 0);
  EXPECT_EQ(node_.drift(), 0U);
  EXPECT_THAT(wrong(), IsEmpty());
  node_.apply();
  EXPECT_EQ(node_.maps().flow.find(bob).value(), before);
}

}  // namespace
}  // namespace grantd
