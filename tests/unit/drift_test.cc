// What somebody else has changed in the maps: it is counted, and put right.
#include "tests/unit/queues_fixture.h"

#include <string>

namespace grantd {
namespace {

class Drift : public PlanQueues {
 protected:
  void SetUp() override {
    PlanQueues::SetUp();
    node_.cgroup_ids["/host"] = kCgroup;
    settle(desired_);
    ASSERT_EQ(looked(), 0U) << "the control";
    ASSERT_TRUE(next(desired_).steps.empty());
  }
  std::size_t looked() {
    auto drift = applier_.refresh(facts_.now);
    EXPECT_TRUE(drift.ok());
    return drift ? drift.value() : 0;
  }
  // Found as one difference, mended by `step`, and then no more.
  void expect_mended(const char* step) {
    EXPECT_EQ(looked(), 1U);
    EXPECT_THAT(names(next(desired_)), testing::Contains(step));
    settle(desired_);
    EXPECT_EQ(looked(), 0U);
    EXPECT_TRUE(next(desired_).steps.empty());
  }
  KernelState& spoiled() { return kernel_.as_somebody_else(); }

  DesiredState with_a_guest_of_the_host_network() {
    DesiredState desired = limited(kRate);
    desired.workloads.push_back(desired::workload("host", "g", "", {}));
    desired.workloads.back().cgroup = "/host";
    return desired;
  }

  static constexpr std::uint64_t kCgroup = 77;
  const DesiredState desired_ = with_a_guest_of_the_host_network();
};

TEST_F(Drift, ARecordWhoseHalvesDifferIsWrittenAnew) {
  grantd_endpoint& record = spoiled().endpoints.begin()->second;
  record.version_again++;
  expect_mended("put_endpoint");
  EXPECT_EQ(record.version, record.version_again);
}

TEST_F(Drift, APolicyThatWasChangedIsReplaced) {
  const std::uint64_t before = published();
  spoiled().policies.at(before).not_after_ns--;
  EXPECT_EQ(looked(), 1U);
  settle(desired_);
  EXPECT_NE(published(), before);
  EXPECT_EQ(in_force_now().not_after_ns, GRANTD_TIME_NEVER);
}

TEST_F(Drift, OfTheNodesOwnRecordsEachIsCounted) {
  spoiled().shaper_record.queue_ifindex++;
  expect_mended("put_shaper");
  spoiled().node.pid++;
  expect_mended("put_node");
  spoiled().bounds[GRANTD_BOUND_RULES].used++;
  expect_mended("put_bounds");
}

TEST_F(Drift, AClassOfTheQueuesThatIsGoneIsCountedWhenInterfacesComeAndGo) {
  spoiled().shaper.classes.erase(spoiled().shaper.classes.begin());
  auto drift = applier_.refresh_attachments();
  ASSERT_TRUE(drift.ok());
  EXPECT_EQ(drift.value(), 1U);
  EXPECT_THAT(names(next(desired_)), testing::Contains("put_class"));
  settle(desired_);
  EXPECT_EQ(applier_.refresh_attachments().value(), 0U);
}

// One of each kind: changed, gone, or more than was written.
struct Spoiled {
  const char* what;
  const char* mended_by;
  void (*how)(KernelState&);
};

class DriftOfOneRecord : public Drift, public testing::WithParamInterface<Spoiled> {};

TEST_P(DriftOfOneRecord, IsCountedAndMended) {
  GetParam().how(spoiled());
  expect_mended(GetParam().mended_by);
}

template <typename Map>
auto& first(Map& map) {
  return map.begin()->second;
}

template <typename Container>
void lose_first(Container& container) {
  container.erase(container.begin());
}

INSTANTIATE_TEST_SUITE_P(
    Each, DriftOfOneRecord,
    testing::Values(
        Spoiled{"published", "publish", [](KernelState& state) { first(state.published) += 1000; }},
        Spoiled{"published_lost", "publish", [](KernelState& state) { state.published.clear(); }},
        Spoiled{"published_more", "publish", [](KernelState& state) { state.published[9] = first(state.published); }},
        Spoiled{"policies_lost", "put_policy", [](KernelState& state) { state.policies.clear(); }},
        Spoiled{"rule_sets", "put_rules", [](KernelState& state) { first(state.rule_sets).digest++; }},
        Spoiled{"rule_sets_sources", "put_sources",
                [](KernelState& state) { first(state.rule_sets).sources_digest++; }},
        Spoiled{"rule_sets_lost", "put_rules", [](KernelState& state) { state.rule_sets.clear(); }},
        Spoiled{"rule_sets_more", "remove_rules", [](KernelState& state) { state.rule_sets[999] = {}; }},
        Spoiled{"endpoints_lost", "put_endpoint", [](KernelState& state) { state.endpoints.clear(); }},
        Spoiled{"host_guests", "put_host_guest", [](KernelState& state) { first(state.host_guests).slot = 0; }},
        Spoiled{"host_guests_lost", "put_host_guest", [](KernelState& state) { state.host_guests.clear(); }},
        Spoiled{"host_guests_more", "remove_host_guest", [](KernelState& state) { state.host_guests[99] = {}; }},
        Spoiled{"prefixes", "put_prefixes", [](KernelState& state) { first(state.prefixes)++; }},
        Spoiled{"prefixes_lost", "put_prefixes", [](KernelState& state) { lose_first(state.prefixes); }},
        Spoiled{"prefixes_more", "remove_prefixes",
                [](KernelState& state) {
                  state.prefixes[{GRANTD_UPLINK_LAN, desired::prefix("8.8.8.0/24")}] = first(state.prefixes);
                }},
        Spoiled{"uplinks", "put_uplink", [](KernelState& state) { first(state.uplinks).uplink_class++; }},
        Spoiled{"uplinks_lost", "put_uplink", [](KernelState& state) { state.uplinks.clear(); }},
        Spoiled{"uplinks_more", "remove_uplink", [](KernelState& state) { state.uplinks[99] = {}; }},
        Spoiled{"slot_names", "put_slot_name", [](KernelState& state) { first(state.slot_names).phase++; }},
        Spoiled{"slot_names_more", "remove_slot_name", [](KernelState& state) { state.slot_names[9] = {}; }},
        Spoiled{"identity_names_lost", "put_identity_name",
                [](KernelState& state) { lose_first(state.identity_names); }},
        Spoiled{"guests", "put_guest", [](KernelState& state) { first(state.guests).slot++; }},
        Spoiled{"guests_lost", "put_guest", [](KernelState& state) { lose_first(state.guests); }},
        Spoiled{"guests_more", "remove_guest", [](KernelState& state) { state.guests[999] = {}; }},
        Spoiled{"tables_lost", "make_tables", [](KernelState& state) { state.tables.erase(1); }},
        Spoiled{"tables_more", "remove_tables", [](KernelState& state) { state.tables[9] = first(state.tables); }},
        Spoiled{"attachments_lost", "attach",
                [](KernelState& state) {
                  state.attachments.erase({Hook::FromUplink, 2, 0});
                }},
        Spoiled{"attachments_more", "detach",
                [](KernelState& state) {
                  state.attachments.insert({Hook::FromUplink, 99, 0});
                }},
        Spoiled{"queues", "put_queue", [](KernelState& state) { first(state.queues).class_id[0] = 0; }},
        Spoiled{"queues_lost", "put_queue", [](KernelState& state) { state.queues.clear(); }},
        Spoiled{"queues_more", "remove_queue", [](KernelState& state) { state.queues[999] = {}; }},
        Spoiled{"devices_lost", "put_device", [](KernelState& state) { state.devices.clear(); }},
        Spoiled{"devices_more", "remove_device", [](KernelState& state) { state.devices.insert(99); }},
        Spoiled{"classes", "put_class", [](KernelState& state) { first(state.shaper.classes).rate_bytes++; }},
        Spoiled{"classes_lost", "put_class", [](KernelState& state) { lose_first(state.shaper.classes); }},
        Spoiled{"classes_more", "remove_class",
                [](KernelState& state) { state.shaper.classes[0xffff] = first(state.shaper.classes); }}),
    [](const auto& info) { return std::string(info.param.what); });

}  // namespace
}  // namespace grantd
