// A kernel of memory alone, and plans for it.
#pragma once

#include "agent/apply/applier.h"
#include "agent/compile/compile.h"
#include "agent/plan/in_force.h"
#include "agent/plan/plan.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/model_kernel.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

namespace grantd {

// A flow that a peer began under the policy of a slot: its epoch, and the peer's number.
struct BegunFlow {
  std::uint32_t slot = 0, epoch = 0, number = 0;
};

inline std::uint32_t number_of(const KernelState& state, const IdentityName& wanted) {
  for (const auto& [number, name] : state.identity_names)
    if (name == wanted) return number;
  return GRANTD_IDENTITY_NOBODY;
}

inline BegunFlow begin_flow(const KernelState& state, const IdentityName& peer, std::uint32_t slot = 1) {
  return {slot, state.policies.at(state.published.at(slot)).realm_epoch, number_of(state, peer)};
}

// Whether replies pass on it, as the datapath decides: else they wait for the peer to speak again.
inline bool goes_on(const KernelState& state, const BegunFlow& flow) {
  const auto published = state.published.find(flow.slot);
  if (published == state.published.end()) return false;
  const grantd_policy& policy = state.policies.at(published->second);
  const auto& rules = state.rule_sets.at(policy.rules_id).identity_rules;
  return policy.realm_epoch == flow.epoch && std::any_of(rules.begin(), rules.end(), [&](const auto& key) {
           return key.direction == GRANTD_INGRESS && key.identity == flow.number;
         });
}

// As if so many of the numbers of identities were left that nobody ever had.
inline void give_out_all_but(std::uint32_t left, model::ModelKernel& kernel) {
  const IdentityName gone{IdentityName::Kind::WasGrant, "keystone-system/gone"};
  EXPECT_TRUE(kernel.perform(operation::PutIdentityName{GRANTD_MAX_IDENTITIES - left, gone}).ok());
}

constexpr BootNanoseconds kHour = 3600 * GRANTD_NS_PER_SECOND;

class PlanTest : public testing::Test {
 protected:
  Plan next(const DesiredState& desired) {
    facts_.interfaces = {2, 10, 11, 12};
    facts_.cpus = 2;
    kernel_.now = facts_.now = time_.boot_now;
    node_.in_force = in_force(applier_.state());
    return plan(applier_.state(), compile(desired, node_, time_), facts_);
  }
  // The agent is killed after so many steps.
  ApplyReport converge_cut_short(const DesiredState& desired, std::size_t done) {
    Plan cut = next(desired);
    if (done < cut.steps.size()) cut.steps.resize(done, closing(0, ""));
    return applier_.apply(cut, facts_.now);
  }
  ApplyReport converge(const DesiredState& desired) {
    const Plan plan = next(desired);
    return applier_.apply(plan, facts_.now);
  }
  void pass(std::chrono::nanoseconds duration) {
    time_.now += duration;
    time_.boot_now += static_cast<BootNanoseconds>(duration.count());
  }
  DesiredState with_grant(const std::vector<std::string>& destinations = {"198.51.100.0/24:443/TCP"}) {
    DesiredState desired = desired::world();
    desired.grants = {desired::grant("g", destinations)};
    desired.workloads = {desired::workload("web", "g", "veth-a", {"10.20.0.2"})};
    return desired;
  }
  // On a copy of what the kernel holds.
  void record_all(const Plan& plan, KernelState& state) {
    for (const Step& step : plan.steps) {
      Operation operation = step.operation;
      if (auto* renumber = std::get_if<operation::RenumberRules>(&operation)) {
        renumber->found = kernel_.rules(renumber->rules_id).identity_rules;
        std::erase_if(renumber->found,
                      [&](const auto& each) { return !renumber->numbers.contains(each.first.identity); });
      }
      if (const auto* copy = std::get_if<operation::CopyRules>(&operation))
        operation = copied(*copy, kernel_.rules(copy->from));
      record(operation, facts_.now, state);
    }
  }
  std::uint64_t published() const {
    return applier_.state().published.empty() ? 0 : applier_.state().published.begin()->second;
  }
  static IdentityName realm(const std::string& name) { return {IdentityName::Kind::Realm, name}; }
  BegunFlow begin(const IdentityName& peer) const { return begin_flow(applier_.state(), peer); }
  bool goes_on(const BegunFlow& flow) const { return grantd::goes_on(applier_.state(), flow); }
  grantd_policy in_force_now() const { return applier_.state().policies.at(published()); }
  std::vector<std::string> names(const Plan& plan) {
    std::vector<std::string> result;
    for (const Step& step : plan.steps) result.push_back(operation_name(step.operation));
    return result;
  }

  model::ModelKernel kernel_;
  Applier applier_{kernel_};
  NodeFacts node_ = desired::node();
  TimeFacts time_ = desired::noon();
  PlanFacts facts_;
};

}  // namespace grantd
