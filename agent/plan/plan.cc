#include "agent/plan/plan.h"

#include "agent/plan/encode.h"
#include "agent/plan/planner.h"
#include "maps/fixed_text.h"

#include <algorithm>

namespace grantd {

std::string grant_subject(const std::string& key) { return "Grant " + key; }
std::string guest_subject(const std::string& guest) { return "guest " + guest; }
std::string interface_subject(std::uint32_t ifindex) { return "interface " + std::to_string(ifindex); }

std::string slot_subject(const KernelState& kernel, std::uint32_t slot) {
  const auto name = kernel.slot_names.find(slot);
  return name == kernel.slot_names.end() ? "slot " + std::to_string(slot) : grant_subject(text_of(name->second.grant));
}

Step closing(std::uint32_t slot, std::string subject) {
  Step step{operation::Publish{slot, 0}, std::move(subject)};
  step.narrows = Narrows::Yes;
  return step;
}

bool changes_what_is_in_force(const Plan& plan, const KernelState& kernel) {
  return std::any_of(plan.steps.begin(), plan.steps.end(), [&](const Step& step) {
    const auto* publish = std::get_if<operation::Publish>(&step.operation);
    return publish && kernel.published.contains(publish->slot);
  });
}

Plan plan(const KernelState& kernel, const CompiledPolicy& wanted, const PlanFacts& facts) {
  return Planner(kernel, wanted, facts).run();
}

Planner::Planner(const KernelState& kernel, const CompiledPolicy& wanted, const PlanFacts& facts)
    : kernel_(kernel),
      wanted_(wanted),
      facts_(facts),
      node_(kernel.node),
      numbers_in_use_(identities_in_use(kernel)),
      resting_(std::count_if(kernel.identity_names.begin(), kernel.identity_names.end(),
                             [](const auto& each) { return each.second.kind == IdentityName::Kind::WasGrant; })),
      published_(kernel.published) {}

Plan Planner::run() {
  recover_numbers();
  begin_numbers();
  assign_slots();
  assign_identities();
  plan_prefixes();
  plan_uplinks();
  plan_grants();
  plan_endpoints();
  plan_queues();
  retire();
  // What goes now may free what still names it.
  if (!phases_[Retire].empty()) plan_.next_due = std::min(plan_.next_due, facts_.now + kRetireAfter);
  if (!same_bytes(kernel_.bounds, wanted_.bounds)) add(Fill, "limits", operation::PutBounds{wanted_.bounds});
  plan_node();
  std::size_t steps = 0;
  for (const auto& phase : phases_) steps += phase.size();
  plan_.steps.reserve(steps);
  for (auto& phase : phases_)
    for (; !phase.empty(); phase.pop_front()) plan_.steps.push_back(std::move(phase.front()));
  return std::move(plan_);
}

void Planner::add(Phase phase, std::string subject, Operation operation, After after) {
  phases_[phase].push_back({std::move(operation), std::move(subject), phase >= Names, Narrows::No, after});
}

void Planner::report(std::string object, std::string message, std::string accepted) {
  Problem problem;
  problem.object = std::move(object);
  problem.message = std::move(message);
  problem.accepted = std::move(accepted);
  plan_.problems.push_back(std::move(problem));
}

// The numbers that this plan takes are written down before anything bears them: a crash in the
// middle loses numbers and never gives one out twice. By the clock that is written down the next plan reckons the ends
// in force: another one only after what was published by it.
void Planner::plan_node() {
  copy_text(node_.node, facts_.node);
  copy_text(node_.version, facts_.version);
  copy_text(node_.manifests, facts_.manifests);
  node_.stamp_mask = facts_.stamp_mask;
  node_.pid = facts_.pid;
  const bool reckoned_before = kernel_.node.boot_to_wall_ns != 0;
  if (!reckoned_before) node_.boot_to_wall_ns = facts_.boot_to_wall_ns;
  auto& close = phases_[Close];
  if (!same_bytes(node_, kernel_.node)) close.insert(close.begin(), Step{operation::PutNode{node_}, kNodeSubject});
  if (node_.boot_to_wall_ns == facts_.boot_to_wall_ns) return;
  node_.boot_to_wall_ns = facts_.boot_to_wall_ns;
  add(PublishPhase, "clock", operation::PutNode{node_}, After::Doubt);  // the rest does not wait for it
}

}  // namespace grantd
