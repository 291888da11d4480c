// Any history of desired states, with operations that fail and agents that restart: every step is safe,
// and in the end the kernel holds what is desired.
#include "agent/apply/applier.h"
#include "agent/ctl/verify/queue_differences.h"
#include "agent/plan/encode.h"
#include "agent/plan/in_force.h"
#include "tests/unit/desired_samples.h"
#include "tests/unit/kernel_records.h"
#include "tests/unit/model_kernel.h"
#include "tests/unit/plan_watchers.h"

#include <rapidcheck/gtest.h>

#include <random>

namespace grantd {
namespace {

using model::Flows;
using model::HeldPackets;
using model::ModelKernel;
using model::owner_of;

DesiredState arbitrary_world(std::mt19937& random) {
  const auto dice = [&](unsigned sides) { return static_cast<unsigned>(random() % sides); };
  DesiredState desired;
  const std::vector<std::string> pool = {"192.0.2.0/24", "192.0.2.128/25", "100.64.7.0/24", "198.51.100.0/24",
                                         "fd7a:115c:a1e0:b0b::/64"};
  std::vector<std::vector<std::string>> owned(3);
  for (const std::string& text : pool)
    if (const unsigned owner = dice(4); owner < 3) owned[owner].push_back(text);
  const char* names[] = {"alice", "bob", "carol"};
  for (unsigned index = 0; index < 3; index++)
    if (index < 2 || dice(2)) desired.realms.push_back(desired::realm(names[index], owned[index]));
  const std::vector<std::string> destinations = {"203.0.113.0/24:443/TCP", "0.0.0.0/0", "realm:carol", "10.42.0.0/24"};
  for (const char* name : {"g", "h", "i"}) {
    if (dice(3) == 0) continue;
    std::vector<std::string> chosen;
    for (const std::string& text : destinations)
      if (dice(2)) chosen.push_back(text);
    Grant grant = desired::grant(name, chosen);
    grant.revoked = dice(5) == 0;
    if (dice(2)) grant.egress_bps = 1'000'000 * (1 + dice(3));
    desired.grants.push_back(grant);
  }
  const char* interfaces[] = {"veth-a", "veth-b", "veth-c"};
  const char* grants[] = {"g", "h", "i", "missing"};
  for (unsigned index = 0; index < 3; index++)
    if (dice(4))
      desired.workloads.push_back(desired::workload("w" + std::to_string(index), grants[dice(4)], interfaces[index],
                                                    {"10.20.0." + std::to_string(2 + index + 4 * dice(2))}));
  return desired;
}

// Mostly enough; at times too little, also for what is in force.
Limits arbitrary_limits(std::mt19937& random) {
  Limits limits;
  const auto maybe = [&](auto& limit, unsigned least, unsigned sides) {
    if (random() % 4 == 0) limit = least + static_cast<unsigned>(random() % sides);
  };
  maybe(limits.grants, 1, 3);
  maybe(limits.endpoints, 1, 3);
  maybe(limits.rules, 1, 60);
  maybe(limits.prefixes, 1, 30);
  maybe(limits.identities, 2, 5);
  maybe(limits.flows_per_grant, 64, 64);
  maybe(limits.flows, 64, 256);
  return limits;
}

std::set<std::pair<std::string, std::string>> ties(const DesiredState& desired) {
  std::set<std::pair<std::string, std::string>> all;
  for (const Workload& workload : desired.workloads) all.insert({workload.name, workload.grant});
  return all;
}

// Where there are too many, nobody has any that they do not have any more.
void check_prefixes(const KernelState& state, const CompiledPolicy& compiled) {
  std::map<PrefixKey, std::string> wanted;
  for (const CompiledPrefix& each : compiled.prefixes) wanted[{each.uplink_class, each.prefix}] = each.identity.name;
  if (!compiled.prefixes_refused) RC_ASSERT(state.prefixes.size() == wanted.size());
  for (const auto& [key, number] : state.prefixes) {
    const std::string owner = owner_of(state, key);
    if (compiled.prefixes_refused && owner.empty()) continue;
    RC_ASSERT(wanted.contains(key));
    RC_ASSERT(owner == wanted.at(key));
  }
}

// The kernel says what compile says, in every part that the datapath reads.
void check_agreement(const KernelState& state, const CompiledPolicy& compiled) {
  std::map<std::string, std::uint32_t> slots;
  for (const auto& [slot, name] : state.slot_names) slots[text_of(name.grant)] = slot;
  std::size_t published = 0;
  for (const CompiledGrant& grant : compiled.grants) {
    RC_ASSERT(slots.contains(grant.key));
    RC_ASSERT(state.published.contains(slots[grant.key]));
    const grantd_policy& policy = state.policies.at(state.published.at(slots[grant.key]));
    RC_ASSERT(policy.not_after_ns == grant.not_after);
    RC_ASSERT(policy.limit[GRANTD_EGRESS].rate_bps == grant.limit[GRANTD_EGRESS].rate_bps);
    RC_ASSERT(state.rule_sets.at(policy.rules_id).rules.size() == grant.rules.size());
    RC_ASSERT(state.rule_sets.at(policy.rules_id).identity_rules.size() == grant.identity_rules.size());
    published++;
  }
  for (const RefusedGrant& grant : compiled.refused)
    if (slots.contains(grant.key) && state.published.contains(slots[grant.key])) published++;
  RC_ASSERT(state.published.size() == published);
  for (const CompiledEndpoint& endpoint : compiled.endpoints) {
    RC_ASSERT(state.attachments.contains({Hook::FromGuest, endpoint.ifindex, 0}));
    RC_ASSERT(state.attachments.contains({Hook::ToGuest, endpoint.ifindex, 0}));
    RC_ASSERT(state.endpoints.contains(endpoint.ifindex) == !endpoint.without_record);
    if (endpoint.without_record) continue;
    const grantd_endpoint& record = state.endpoints.at(endpoint.ifindex);
    if (endpoint.grant.empty()) RC_ASSERT(record.slot == 0U);
    if (record.slot) RC_ASSERT(state.tables.contains(record.slot));
  }
  std::size_t flows = 0;
  for (const auto& [slot, each] : state.tables) flows += each;
  RC_ASSERT(flows == compiled.bounds[GRANTD_BOUND_FLOWS].used);
  check_prefixes(state, compiled);
}

const std::vector<PortRange> kProbes = {{Protocol::Tcp, 443, 443}, {Protocol::Udp, 53, 53}};

// What a longest prefix match finds: written apart from what compares rules.
bool reaches(const operation::PutRules& rules, const IpAddress& address, const PortRange& probe) {
  int longest = -1;
  bool opened = false;
  for (const auto& [key, ranges] : rules.rules) {
    IpPrefix prefix{{static_cast<Family>(key.family), {}},
                    static_cast<int>(key.prefixlen) - GRANTD_RULE_KEY_FIXED_BITS};
    std::copy(std::begin(key.address), std::end(key.address), prefix.address.bytes.begin());
    if (prefix.length <= longest || !prefix.contains(address)) continue;
    longest = prefix.length;
    opened = std::any_of(ranges.range, ranges.range + ranges.count, [&](const grantd_range& each) {
      return (!each.protocol || each.protocol == static_cast<std::uint8_t>(probe.protocol)) && each.low <= probe.low &&
             each.high >= probe.high;
    });
  }
  return opened;
}

bool may_reach(const CompiledGrant& grant, const IpAddress& address, const PortRange& probe) {
  const CompiledRule* longest = nullptr;
  for (const CompiledRule& rule : grant.rules)
    if (rule.prefix.contains(address) && (!longest || rule.prefix.length > longest->prefix.length)) longest = &rule;
  return longest && std::any_of(longest->ranges.begin(), longest->ranges.end(), [&](const CompiledRange& each) {
           return (each.range.protocol == Protocol::Any || each.range.protocol == probe.protocol) &&
                  each.range.low <= probe.low && each.range.high >= probe.high;
         });
}

// Whatever failed, no Grant opens more than it is to open now: what could not be narrowed is closed.
void check_width(const ModelKernel& kernel, const CompiledPolicy& compiled) {
  const KernelState& state = kernel.state();
  std::map<std::string, const CompiledGrant*> wanted;
  for (const CompiledGrant& grant : compiled.grants)
    if (grant.quarantine.empty()) wanted[grant.key] = &grant;
  for (const auto& [slot, policy_id] : state.published) {
    const grantd_policy& policy = state.policies.at(policy_id);
    const auto& rules = kernel.rules(policy.rules_id);
    // Whose address somebody has whom it has left, is in no rule.
    for (const auto& [key, owner] : state.prefixes) {
      const auto is_theirs = [&state, &key = key](const CompiledPrefix& each) {
        return each.uplink_class == key.uplink_class && each.prefix == key.prefix &&
               each.identity.name == owner_of(state, key);
      };
      if (std::any_of(compiled.prefixes.begin(), compiled.prefixes.end(), is_theirs)) continue;
      if (owner == GRANTD_IDENTITY_NOBODY) continue;
      for (const auto& [rule, ranges] : rules.identity_rules) RC_ASSERT(rule.identity != owner);
    }
    const std::string key = text_of(state.slot_names.at(slot).grant);
    const auto found = wanted.find(key);
    if (found == wanted.end()) {
      RC_ASSERT(std::any_of(compiled.refused.begin(), compiled.refused.end(),
                            [&](const RefusedGrant& refused) { return refused.key == key; }));
      continue;
    }
    const CompiledGrant& grant = *found->second;
    if (policy.not_after_ns <= kernel.now) continue;  // it has ended
    RC_ASSERT(policy.not_after_ns <= grant.not_after);
    for (std::size_t direction = 0; direction < GRANTD_DIRECTIONS; direction++) {
      const std::uint64_t most = grant.limit[direction].rate_bps, has = policy.limit[direction].rate_bps;
      RC_ASSERT(most == 0 || (has != 0 && has <= most));
    }
    for (const char* text : {"192.0.2.1", "192.0.2.129", "198.51.100.1", "203.0.113.1", "10.42.0.1", "9.9.9.9"})
      for (const PortRange& probe : kProbes)
        if (reaches(rules, desired::address(text), probe)) RC_ASSERT(may_reach(grant, desired::address(text), probe));
    for (const auto& [rule, ranges] : rules.identity_rules) {
      const auto name = state.identity_names.find(rule.identity);
      if (name == state.identity_names.end()) continue;
      RC_ASSERT(
          std::any_of(grant.identity_rules.begin(), grant.identity_rules.end(), [&, &rule = rule](const auto& each) {
            return each.identity == name->second && each.direction == static_cast<grantd_direction>(rule.direction);
          }));
    }
  }
}

// Nor is a guest under a Grant that it has left, or has an address that it had.
void check_guests(const KernelState& state, const CompiledPolicy& compiled) {
  for (const auto& [ifindex, record] : state.endpoints) {
    if (!state.published.contains(record.slot)) continue;
    const auto wanted = std::find_if(compiled.endpoints.begin(), compiled.endpoints.end(),
                                     [&, at = ifindex](const auto& each) { return each.ifindex == at; });
    RC_ASSERT(wanted != compiled.endpoints.end());
    RC_ASSERT(text_of(state.slot_names.at(record.slot).grant) == wanted->grant);
    RC_ASSERT(text_of(state.guests.at(record.endpoint_id).guest) == wanted->guest);
    const grantd_endpoint encoded = encode_endpoint(*wanted);
    for (const std::uint32_t address : record.ipv4)
      RC_ASSERT(address == 0 || std::count(std::begin(encoded.ipv4), std::end(encoded.ipv4), address) == 1);
  }
}

// Every guest under a limit waits in a class of its own, where there are queues at all; nobody else does.
void check_waiting(const KernelState& state, bool queues) {
  std::size_t waiting = 0;
  for (const auto& [ifindex, endpoint] : state.endpoints) {
    const auto published = state.published.find(endpoint.slot);
    if (published == state.published.end()) continue;
    const grantd_policy& policy = state.policies.at(published->second);
    bool limited = false;
    for (std::uint32_t direction = 0; direction < GRANTD_DIRECTIONS; direction++) {
      if (!queues || !policy.limit[direction].rate_bps) continue;
      limited = true;
      const std::uint32_t minor = minor_of(state.queues.at(endpoint.endpoint_id).class_id[direction]);
      RC_ASSERT(state.shaper.classes.at(minor).parent == grant_minor(endpoint.slot, direction));
      RC_ASSERT(state.shaper.classes.at(minor).ceil_bytes < policy.limit[direction].rate_bps / 8);
    }
    waiting += limited;
  }
  RC_ASSERT(state.queues.size() == waiting);
  RC_ASSERT((state.shaper_record.queue_ifindex != 0) == queues);
  if (waiting == 0) RC_ASSERT(state.shaper.classes.empty());
}

// A node where no number was given out yet, few are left, or some were given out before.
void give_out_numbers(ModelKernel& kernel, std::mt19937& random) {
  if (random() % 3 == 0) return;
  give_out_all_but(static_cast<std::uint32_t>(random() % 2 ? random() % 12 : 0), kernel);
}

// A Grant that stays as it is, while others, realms and guests change and whatever is not its own fails.
RC_GTEST_PROP(Plan, EveryStepOfOthersMayFailAndAGrantGoesOn, ()) {
  std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
  ModelKernel kernel;
  give_out_numbers(kernel, random);
  Applier applier(kernel);
  RC_ASSERT(applier.refresh(desired::noon().boot_now).ok());
  NodeFacts node = desired::node();
  TimeFacts time = desired::noon();
  PlanFacts facts;
  facts.interfaces = {2, 10, 11, 12};
  facts.cpus = 2;
  const auto with_h = [&] {
    DesiredState desired = arbitrary_world(random);
    std::erase_if(desired.grants, [](const Grant& each) { return each.name == "h"; });
    desired.grants.push_back(desired::grant("h", {"203.0.113.0/24:443/TCP"}));
    return desired;
  };
  Flows flows;
  HeldPackets held;
  const auto pass = [&](const DesiredState& desired, bool fails) {
    kernel.now = facts.now = time.boot_now;
    node.in_force = in_force(applier.state());
    const CompiledPolicy compiled = compile(desired, node, time);
    std::string key;
    for (const CompiledGrant& grant : compiled.grants)
      if (grant.key.ends_with("/h") && grant.quarantine.empty()) key = grant.key;
    RC_ASSERT(!key.empty());
    const Plan next = plan(applier.state(), compiled, facts);
    std::set<const Operation*> spared;
    std::set<std::uint32_t> spared_rules;  // apply adds to it what it has read
    for (const Step& step : next.steps)
      if (step.subject == grant_subject(key) || step.subject == kLossesSubject || step.subject == kNodeSubject ||
          operation_name(step.operation) == std::string("remove_prefixes")) {
        spared.insert(&step.operation);
        if (const auto* rules = std::get_if<operation::RenumberRules>(&step.operation))
          spared_rules.insert(rules->rules_id);
      }
    kernel.fail_where([&](const Operation& operation) {
      const auto* publish = std::get_if<operation::Publish>(&operation);
      const bool closes = publish && publish->policy_id == 0;
      const auto* rules = std::get_if<operation::RenumberRules>(&operation);
      if (rules && spared_rules.contains(rules->rules_id)) return false;
      return fails && !closes && !spared.contains(&operation) && random() % 3 == 0;
    });
    applier.apply(next, facts.now);
    kernel.fail_where(nullptr);
    const KernelState& state = kernel.state();
    RC_ASSERT(std::any_of(state.slot_names.begin(), state.slot_names.end(), [&](const auto& each) {
      return text_of(each.second.grant) == key && state.published.contains(each.first);
    }));
    check_width(kernel, compiled);
    flows.check(state);
    flows.begin(state);
    held.check(state, facts.now);
    held.stamp(state, facts.now);
    time.boot_now += GRANTD_NS_PER_SECOND;
    time.now += std::chrono::seconds(1);
  };
  // Some worlds have nobody who could begin a flow.
  for (int turn = 0; turn < 6 || (turn < 60 && (flows.count() == 0 || held.count() == 0)); turn++) {
    const DesiredState desired = with_h();
    pass(desired, turn > 0);
    pass(desired, turn > 0);
    if (random() % 2) pass(desired, false);
  }
  RC_ASSERT(kernel.violations() == std::vector<std::string>{});
  RC_ASSERT(flows.count() > 0U);
  RC_ASSERT(held.count() > 0U);
}

// What grantctl verify says of it: nothing, but that of a Grant whose newest version is refused an older one is in
// force.
void check_verified(const ModelKernel& kernel, const CompiledPolicy& compiled, unsigned cpus) {
  Said said;
  said.policy = compiled;
  said.cpus = cpus;
  for (const RefusedGrant& grant : compiled.refused) said.refused[grant.key] = grant.why;
  auto wrong = differences(said, records_of(kernel));
  for (std::string& each : queue_differences(kernel.state())) wrong.push_back(std::move(each));
  std::erase_if(wrong, [](const std::string& line) { return line.find("an older version in force") != line.npos; });
  RC_ASSERT(wrong == std::vector<std::string>{});
}

RC_GTEST_PROP(Plan, EveryStepOfEveryHistoryIsSafe, ()) {
  std::mt19937 random(*rc::gen::arbitrary<std::uint32_t>());
  ModelKernel kernel;
  give_out_numbers(kernel, random);
  auto applier = std::make_unique<Applier>(kernel);
  RC_ASSERT(applier->refresh(desired::noon().boot_now).ok());
  NodeFacts node = desired::node();
  TimeFacts time = desired::noon();
  PlanFacts facts;
  facts.interfaces = {2, 10, 11, 12};
  facts.cpus = 2;
  facts.shaper_secret = 7;
  Flows flows;
  HeldPackets held;
  bool fails = true;
  kernel.removals_fail = random() % 4 == 0;
  kernel.fail_by([&] { return fails && random() % 12 == 0; });
  std::set<std::pair<std::string, std::string>> before;
  for (int turn = 0; turn < 6; turn++) {
    DesiredState desired = arbitrary_world(random);
    desired.cluster = random() % 2;
    const Limits limits = arbitrary_limits(random);
    const auto now = ties(desired);
    kernel.allow([&](const std::string& guest, const std::string& grant) {
      return before.contains({guest, grant}) || now.contains({guest, grant});
    });
    CompiledPolicy compiled;
    const auto converge = [&] {
      kernel.now = facts.now = time.boot_now;
      node.in_force = in_force(applier->state());
      compiled = compile(desired, node, time, limits);
      if (fails && random() % 4 == 0) {  // the agent is killed in the middle and starts again
        Plan cut = plan(applier->state(), compiled, facts);
        cut.steps.resize(random() % (cut.steps.size() + 1), closing(0, ""));
        applier->apply(cut, facts.now);
        held.stamp(kernel.state(), facts.now);
        applier = std::make_unique<Applier>(kernel);
        RC_ASSERT(applier->refresh(facts.now).ok());
        node.in_force = in_force(applier->state());
        compiled = compile(desired, node, time, limits);
      }
      applier->apply(plan(applier->state(), compiled, facts), facts.now, [&] { return fails && random() % 3 == 0; });
      check_width(kernel, compiled);
      if (!kernel.removals_fail) check_guests(kernel.state(), compiled);
      flows.check(kernel.state());
      flows.begin(kernel.state());
      held.check(kernel.state(), facts.now);
      held.stamp(kernel.state(), facts.now);
    };
    facts.shaper = random() % 4 ? GRANTD_SHAPER_HTB : GRANTD_SHAPER_POLICER;
    fails = true;
    for (auto attempt = random() % 3; attempt > 0; attempt--) {
      converge();
      time.boot_now += random() % (2 * GRANTD_NS_PER_SECOND);
      time.now = desired::noon().now + std::chrono::nanoseconds(time.boot_now - desired::noon().boot_now);
      if (random() % 4 == 0) {  // made again under its index
        kernel.lose_interface(static_cast<std::uint32_t>(10 + random() % 3));
        RC_ASSERT(applier->refresh_attachments().ok());
      }
      if (random() % 6 == 0) {
        kernel.lose_queues();
        RC_ASSERT(applier->refresh_attachments().ok());
      }
      if (random() % 3 == 0) {  // the agent is killed and starts again
        applier = std::make_unique<Applier>(kernel);
        RC_ASSERT(applier->refresh(time.boot_now).ok());
      }
    }
    fails = false;
    for (int settle = 0; settle < 4; settle++) {
      converge();
      RC_ASSERT(applier->refresh_attachments().ok());
      time.boot_now += 2 * GRANTD_NS_PER_SECOND;
      time.now += std::chrono::seconds(2);
    }
    converge();
    RC_ASSERT(kernel.violations() == std::vector<std::string>{});
    check_agreement(kernel.state(), compiled);
    check_waiting(kernel.state(), facts.shaper == GRANTD_SHAPER_HTB);
    check_verified(kernel, compiled, facts.cpus);
    const auto again = plan(applier->state(), compiled, facts);
    RC_ASSERT(again.steps.empty());
    // Nothing is left behind by what came and went.
    RC_ASSERT(kernel.state().policies.size() == kernel.state().published.size());
    RC_ASSERT(kernel.state().rule_sets.size() == kernel.state().published.size());
    before = now;
    if (random() % 4 == 0) {  // until numbers are given out again
      time.boot_now += 130 * GRANTD_NS_PER_SECOND;
      time.now += std::chrono::seconds(130);
    }
  }
}

}  // namespace
}  // namespace grantd
