// Limited guests and their queues, in a kernel of memory alone.
#pragma once

#include "tests/unit/plan_fixture.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace grantd {

constexpr std::uint64_t kRate = 16'000'000;

class PlanQueues : public PlanTest {
 protected:
  void SetUp() override {
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
    std::vector<std::string> all;
    for (int turn = 0; turn < 6; turn++) {
      time_.boot_now += 2 * GRANTD_NS_PER_SECOND;
      const Plan plan = next(desired);
      for (const std::string& name : names(plan)) all.push_back(name);
      EXPECT_TRUE(applier_.apply(plan, facts_.now).complete());
      EXPECT_TRUE(applier_.refresh_attachments().ok());
      if (plan.steps.empty()) break;
    }
    EXPECT_THAT(kernel_.violations(), testing::IsEmpty());
    return all;
  }
  std::size_t count(const std::vector<std::string>& names, const std::string& name) {
    return static_cast<std::size_t>(std::count(names.begin(), names.end(), name));
  }
  const ShaperState& queues() const { return kernel_.state().shaper; }
};

}  // namespace grantd
