// Limited guests and their queues, in a kernel of memory alone.
#pragma once

#include "agent/apply/applier.h"
#include "agent/compile/compile.h"
#include "agent/plan/in_force.h"
#include "agent/plan/plan.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/model_kernel.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

constexpr std::uint64_t kRate = 16'000'000;

class PlanQueues : public testing::Test {
 protected:
  void SetUp() override {
    facts_.interfaces = {2, 10, 11, 12};
    facts_.cpus = 2;
    facts_.shaper = GRANTD_SHAPER_HTB;
    facts_.shaper_secret = 7;
  }
  DesiredState limited(std::optional<std::uint64_t> egress, std::optional<std::uint64_t> ingress = std::nullopt) {
    DesiredState desired = desired::world();
    desired.grants = {desired::grant("g", {})};
    desired.grants[0].egress_bps = egress;
    desired.grants[0].ingress_bps = ingress;
    desired.workloads = {desired::workload("web", "g", "veth-a", {"10.20.0.2"})};
    return desired;
  }
  // Until nothing is left to do; the names of all steps.
  std::vector<std::string> settle(const DesiredState& desired) {
    std::vector<std::string> names;
    for (int turn = 0; turn < 6; turn++) {
      kernel_.now = facts_.now = time_.boot_now += 2 * GRANTD_NS_PER_SECOND;
      node_.in_force = in_force(applier_.state());
      const Plan next = plan(applier_.state(), compile(desired, node_, time_), facts_);
      for (const Step& step : next.steps) names.push_back(operation_name(step.operation));
      EXPECT_TRUE(applier_.apply(next, facts_.now).complete());
      EXPECT_TRUE(applier_.refresh_attachments().ok());
      if (next.steps.empty()) break;
    }
    EXPECT_THAT(kernel_.violations(), testing::IsEmpty());
    return names;
  }
  std::size_t count(const std::vector<std::string>& names, const std::string& name) {
    return static_cast<std::size_t>(std::count(names.begin(), names.end(), name));
  }
  const ShaperState& queues() const { return kernel_.state().shaper; }

  model::ModelKernel kernel_;
  Applier applier_{kernel_};
  NodeFacts node_ = desired::node();
  TimeFacts time_ = desired::noon();
  PlanFacts facts_;
};

}  // namespace grantd
