#include "agent/ctl/verify/queue_differences.h"

#include "agent/plan/queue_classes.h"
#include "tests/unit/queues_fixture.h"

namespace grantd {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// On a real kernel: tests/netns/test_verify.py. Of any history: Plan.EveryStepOfEveryHistoryIsSafe.
class QueueDifferences : public PlanQueues {
 protected:
  QueueDifferences() {
    SetUp();
    DesiredState two = limited(kRate, 2 * kRate);
    two.workloads.push_back(desired::workload("db", "g", "veth-b", {"10.20.0.3"}));
    settle(two);
    state_ = kernel_.state();
    for (const auto& [endpoint_id, guest] : state_.guests)
      if (text_of(guest.guest) == "web") web_ = endpoint_id;
    minor_ = minor_of(state_.queues.at(web_).class_id[GRANTD_EGRESS]);
  }
  std::vector<std::string> differences() const { return queue_differences(state_); }

  KernelState state_;
  std::uint32_t web_ = 0, minor_ = 0;  // its class of egress
};

TEST_F(QueueDifferences, NoneWhereAllWaitAsTheyShould) {
  EXPECT_EQ(state_.shaper.classes.size(), 6U);
  EXPECT_THAT(differences(), IsEmpty());
}

TEST_F(QueueDifferences, NoneWhereNothingWaits) {
  facts_.shaper = GRANTD_SHAPER_POLICER;
  settle(limited(kRate));
  EXPECT_THAT(queue_differences(kernel_.state()), IsEmpty());
  facts_.shaper = GRANTD_SHAPER_HTB;
  settle(limited(std::nullopt));
  EXPECT_THAT(queue_differences(kernel_.state()), IsEmpty());
}

TEST_F(QueueDifferences, EachFieldOfAClass) {
  for (const std::uint32_t minor : {minor_, grant_minor(1, GRANTD_EGRESS)}) {
    const std::string whose = minor == minor_ ? "guest web: " : "Grant keystone-system/g: ";
    const auto expect = [&](const char* field, auto change) {
      const KernelState before = state_;
      change(state_.shaper.classes.at(minor));
      EXPECT_THAT(differences(), ElementsAre(testing::AllOf(testing::StartsWith(whose), HasSubstr(field)))) << field;
      state_ = before;
    };
    expect("parent", [](QueueClass& one) { one.parent++; });
    expect("rate_bytes", [](QueueClass& one) { one.rate_bytes++; });
    expect("ceil_bytes", [](QueueClass& one) { one.ceil_bytes++; });
    expect("burst_ns", [](QueueClass& one) { one.burst_ns++; });
    expect("ceil_burst_ns", [](QueueClass& one) { one.ceil_burst_ns++; });
    expect("quantum_bytes", [](QueueClass& one) { one.quantum_bytes++; });
    expect("queue_bytes", [](QueueClass& one) { one.queue_bytes++; });
  }
}

TEST_F(QueueDifferences, AQueueOfAnotherKind) {
  state_.shaper.classes.at(minor_).fair = true;
  EXPECT_THAT(differences(), ElementsAre("guest db: queue class 1:8000 of egress: fair is 0; by the limit in force 1"))
      << "where one has what the kernel has, each has";
}

TEST_F(QueueDifferences, AGuestThatDoesNotWait) {
  state_.queues.erase(web_);
  EXPECT_THAT(differences(), Contains("guest web: egress does not wait; by the limit in force it does"));
  EXPECT_THAT(differences(), Contains("guest web: ingress does not wait; by the limit in force it does"));
}

TEST_F(QueueDifferences, AGuestThatWaitsWhereItShouldNot) {
  state_.queues[web_ + 100] = state_.queues.at(web_);
  EXPECT_THAT(differences(), ElementsAre("guest " + std::to_string(web_ + 100) + ": waits under no limit"));
  state_.queues.erase(web_ + 100);
  grantd_policy& policy = state_.policies.at(state_.published.begin()->second);
  policy.limit[GRANTD_INGRESS] = {};
  EXPECT_THAT(differences(), Contains("guest web: ingress waits under no limit"));
}

TEST_F(QueueDifferences, AGuestInAnothersClass) {
  for (auto& [endpoint_id, queue] : state_.queues) queue = state_.queues.at(web_);
  EXPECT_THAT(differences(), Contains(HasSubstr("waits in another guest's queue class 1:")));
}

TEST_F(QueueDifferences, ClassesThatAreNotThereOrNobodys) {
  state_.shaper.classes[kFirstGuestMinor + 100] = state_.shaper.classes.at(minor_);
  EXPECT_THAT(differences(), ElementsAre("queue class 1:8064: is no limit's"));
  state_.shaper.classes.erase(kFirstGuestMinor + 100);
  state_.shaper.classes.erase(minor_);
  EXPECT_THAT(differences(), ElementsAre("guest web: queue class 1:8002 of egress is not there"));
}

TEST_F(QueueDifferences, InterfacesThatAreOthers) {
  state_.shaper_record.queue_ifindex++;
  EXPECT_THAT(differences(), ElementsAre(HasSubstr("queues: queue_ifindex is ")));
  state_.shaper_record.queue_ifindex--;
  state_.shaper_record.release_ifindex++;
  EXPECT_THAT(differences(), ElementsAre(HasSubstr("queues: release_ifindex is ")));
  state_.shaper_record.release_ifindex--;
  state_.devices.clear();
  EXPECT_THAT(differences(), Contains("guest web: what has waited may not come back to its interface"));
  state_.shaper = {};
  EXPECT_THAT(differences(), Contains("queues: are not there; by the agent's choice (htb) they are"));
}

}  // namespace
}  // namespace grantd
