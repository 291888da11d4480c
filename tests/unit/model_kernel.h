// A kernel made of a KernelState, which watches over every single operation: whatever the order and
// whichever fail, no step may open anything that neither the old nor the new desired state allows.
#pragma once

#include "agent/apply/kernel.h"
#include "agent/plan/encode.h"
#include "agent/plan/queue_classes.h"

#include <algorithm>
#include <functional>
#include <set>
#include <string>

namespace grantd::model {

class ModelKernel : public Kernel {
 public:
  Result<void> perform(const Operation& operation) override {
    const std::string name = operation_name(operation);
    const auto* publish = std::get_if<operation::Publish>(&operation);
    const bool closes = publish && publish->policy_id == 0;  // a store into memory that is there
    const bool removes = std::holds_alternative<operation::RemoveEndpoint>(operation);
    if (name == failing_ || (dice_ && !closes && (removals_fail || !removes) && dice_()) ||
        (chosen_ && chosen_(operation)))
      return Error{"made to fail", error_number};
    if (const auto* device = std::get_if<operation::PutDevice>(&operation); device && !is_held(device->ifindex))
      return Error{"our programs do not stand on it", 0};
    check(operation);
    check_queues(operation);
    if (const auto* rules = std::get_if<operation::PutRules>(&operation)) rules_[rules->rules_id] = *rules;
    if (const auto* renumber = std::get_if<operation::RenumberRules>(&operation)) {
      auto& rules = rules_.at(renumber->rules_id).identity_rules;
      std::erase_if(rules, [&](const auto& each) { return renumber->numbers.contains(each.first.identity); });
      for (const auto& each : renumbered(*renumber)) rules.push_back(each);
    }
    record(operation, now, state_);
    if (std::holds_alternative<operation::MakeQueues>(operation) && !state_.shaper.queue_ifindex) {
      state_.shaper.queue_ifindex = next_ifindex_++;
      state_.shaper.release_ifindex = next_ifindex_++;
    }
    check_state();
    return {};
  }
  Result<KernelState> read() override {
    KernelState copy = state_;
    copy.retired_at.clear();
    return copy;
  }
  Result<operation::PutRules> read_rules(std::uint32_t rules_id, const RuleSet& asked) override {
    const auto is_asked = [](const auto& keys, const auto& key) {
      return std::any_of(keys.begin(), keys.end(), [&](const auto& each) { return same_bytes(key_of(each), key); });
    };
    operation::PutRules rules = rules_.at(rules_id);
    std::erase_if(rules.rules, [&](const auto& each) { return !is_asked(asked.rules, each.first); });
    std::erase_if(rules.identity_rules, [&](const auto& each) { return !is_asked(asked.identity_rules, each.first); });
    return rules;
  }
  Result<Attachments> read_attachments() override { return Attachments{state_.attachments, state_.behind}; }

  Result<ShaperState> read_shaper(const ShaperState&) override { return state_.shaper; }

  void fail(const std::string& operation) { failing_ = operation; }
  void fail_by(std::function<bool()> dice) { dice_ = std::move(dice); }
  void fail_where(std::function<bool(const Operation&)> chosen) { chosen_ = std::move(chosen); }
  void lose_attachments(std::uint32_t ifindex) {
    for (auto* set : {&state_.attachments, &state_.behind})
      std::erase_if(*set, [&](const Attachment& each) { return each.ifindex == ifindex; });
  }
  void lose_attachment(const Attachment& attachment) { state_.attachments.erase(attachment); }
  // Somebody else's program gets before ours.
  void get_before(const Attachment& attachment) {
    state_.attachments.erase(attachment);
    state_.behind.insert(attachment);
  }
  // The kernel forgets of it what it knows by the device; our records stay. Another one may come to its index.
  void lose_interface(std::uint32_t ifindex) {
    lose_attachments(ifindex);
    state_.devices.erase(ifindex);
    for (const auto& [index, endpoint] : state_.endpoints)
      if (index == ifindex) before_.insert(endpoint.endpoint_id);
  }
  // Somebody removes the interfaces of the queues, and with them all that stands on them.
  void lose_queues() {
    lose_attachments(state_.shaper.release_ifindex);
    state_.shaper = {};
  }
  // Which Grants a guest may be under at any moment: those of the old and of the new desired state.
  void allow(std::function<bool(const std::string& guest, const std::string& grant)> allowed) {
    allowed_ = std::move(allowed);
  }

  const KernelState& state() const { return state_; }
  KernelState& as_somebody_else() { return state_; }  // who changes what is not his
  const std::map<std::uint32_t, operation::PutRules>& all_rules() const { return rules_; }
  const operation::PutRules& rules(std::uint32_t rules_id) const { return rules_.at(rules_id); }
  const std::vector<std::string>& violations() const { return violations_; }
  BootNanoseconds now = 0;
  int error_number = 5;       // of what is made to fail
  bool removals_fail = true;  // of a guest's record too, which takes no memory

 private:
  static const grantd_rule_key& key_of(const KnownRule& rule) { return rule.key; }
  static const grantd_idrule_key& key_of(const grantd_idrule_key& key) { return key; }
  void violated(const std::string& what) { violations_.push_back(what); }

  bool is_held(std::uint32_t ifindex) const {
    return std::all_of(std::begin(kGuestHooks), std::end(kGuestHooks), [&](Hook hook) {
      return state_.attachments.contains({hook, ifindex, 0});
    });
  }
  bool in_force(std::uint64_t policy_id) const {
    return std::any_of(state_.published.begin(), state_.published.end(),
                       [&](const auto& each) { return each.second == policy_id; });
  }
  bool rules_in_use(std::uint32_t rules_id) const {
    return std::any_of(state_.policies.begin(), state_.policies.end(),
                       [&](const auto& each) { return each.second.rules_id == rules_id; });
  }

  // Rules of the records themselves: immutable, never numbered twice, complete before they are published.
  void check(const Operation& operation) {
    if (const auto* put = std::get_if<operation::PutPolicy>(&operation)) {
      if (!policy_ids_.insert(put->policy_id).second) violated("a policy_id was used again");
      if (!state_.rule_sets.contains(put->policy->rules_id)) violated("a policy without its rules");
    } else if (const auto* rules = std::get_if<operation::PutRules>(&operation)) {
      if (rules_in_use(rules->rules_id)) violated("rules in use were changed");
    } else if (const auto* renumber = std::get_if<operation::RenumberRules>(&operation)) {
      for (const auto& [old, now] : renumber->numbers)
        if (now && std::any_of(state_.prefixes.begin(), state_.prefixes.end(),
                               [&, number = now](const auto& each) { return each.second == number; }))
          violated("rules in use were opened to somebody");
    } else if (const auto* removed = std::get_if<operation::RemoveRules>(&operation)) {
      if (rules_in_use(removed->rules_id)) violated("rules in use were removed");
    } else if (const auto* publish = std::get_if<operation::Publish>(&operation)) {
      const auto policy = state_.policies.find(publish->policy_id);
      if (publish->policy_id && policy == state_.policies.end()) violated("published what is not there");
      if (policy != state_.policies.end() && policy->second.slot != publish->slot)
        violated("published in another slot");
    } else if (const auto* gone = std::get_if<operation::RemovePolicy>(&operation)) {
      if (in_force(gone->policy_id)) violated("removed what is in force");
      const auto since = state_.retired_at.find(gone->policy_id);
      if (since != state_.retired_at.end() && now < since->second + GRANTD_NS_PER_SECOND)
        violated("removed within a second");
    } else if (const auto* endpoint = std::get_if<operation::PutEndpoint>(&operation)) {
      if (!versions_.insert(endpoint->endpoint->version).second) violated("a version was used again");
      if (endpoint->endpoint->version != endpoint->endpoint->version_again) violated("versions differ");
    } else if (const auto* name = std::get_if<operation::PutSlotName>(&operation)) {
      const auto before = state_.slot_names.find(name->slot);
      if (before != state_.slot_names.end() && text_of(before->second.grant) != text_of(name->name->grant))
        violated("a slot changed its Grant");
    }
  }

  // What waits must come back: behind a queue stands our program, and no guest is sent into a class that is another's.
  void check_queues(const Operation& operation) {
    const auto children = [&](std::uint32_t minor) {
      return std::any_of(state_.shaper.classes.begin(), state_.shaper.classes.end(),
                         [&](const auto& each) { return each.second.parent == minor; });
    };
    // Under a number that no record bears nothing comes, and no record will bear it again.
    const auto bearer = [&](std::uint32_t endpoint_id) {
      return std::find_if(state_.endpoints.begin(), state_.endpoints.end(),
                          [&](const auto& each) { return each.second.endpoint_id == endpoint_id; });
    };
    const auto borne = [&](std::uint32_t endpoint_id) { return bearer(endpoint_id) != state_.endpoints.end(); };
    const auto used = [&](std::uint32_t minor) {
      return std::any_of(state_.queues.begin(), state_.queues.end(), [&](const auto& each) {
        return borne(each.first) &&
               (minor_of(each.second.class_id[0]) == minor || minor_of(each.second.class_id[1]) == minor);
      });
    };
    if (const auto* put = std::get_if<operation::PutClass>(&operation)) {
      const auto have = state_.shaper.classes.find(put->minor);
      if (have != state_.shaper.classes.end() && have->second.parent != put->wanted.parent)
        violated("a class went to another Grant");
      if (put->wanted.parent && !state_.shaper.classes.contains(put->wanted.parent)) violated("a class in none");
    } else if (const auto* removed = std::get_if<operation::RemoveClass>(&operation)) {
      if (children(removed->minor)) violated("a class was removed before those in it");
      if (used(removed->minor)) violated("a class was removed that a guest waits in");
    } else if (const auto* queue = std::get_if<operation::PutQueue>(&operation)) {
      for (const std::uint32_t id : queue->queue.class_id) {
        if (id && !state_.shaper.classes.contains(minor_of(id))) violated("a queue without its class");
        for (const auto& [other, its] : state_.queues)
          if (id && other != queue->endpoint_id && borne(other) && (its.class_id[0] == id || its.class_id[1] == id))
            violated("two guests in one class");
      }
      const auto endpoint = bearer(queue->endpoint_id);
      if (endpoint == state_.endpoints.end() || !state_.devices.contains(endpoint->first))
        violated("a queue from which nothing comes back");
    } else if (const auto* shaper = std::get_if<operation::PutShaper>(&operation)) {
      if (shaper->shaper->queue_ifindex &&
          !state_.attachments.contains({Hook::FromQueue, shaper->shaper->release_ifindex, 0}))
        violated("queues with nothing behind them");
      if (shaper->shaper->secret == 0 && shaper->shaper->queue_ifindex) violated("queues without a secret");
    }
  }

  void check_state() {
    for (const auto& [ifindex, endpoint] : state_.endpoints) {
      const auto on_it = [&, at = ifindex](const Attachment& each) {
        return is_guest_hook(each.hook) && each.ifindex == at;
      };
      if (!removals_fail && before_.contains(endpoint.endpoint_id) &&
          std::any_of(state_.attachments.begin(), state_.attachments.end(), on_it))
        violated("an interface is judged as the one that had its index before");
      if (endpoint.slot == 0) continue;
      if (!is_held(ifindex) && !before_.contains(endpoint.endpoint_id) && state_.published.contains(endpoint.slot))
        violated("an endpoint under a Grant without its programs");
      const auto guest = state_.guests.find(endpoint.endpoint_id);
      const auto slot = state_.slot_names.find(endpoint.slot);
      if (!state_.published.contains(endpoint.slot)) continue;
      if (guest == state_.guests.end() || slot == state_.slot_names.end()) {
        violated("an endpoint under a Grant without names");
      } else if (allowed_ && !allowed_(text_of(guest->second.guest), text_of(slot->second.grant))) {
        violated("guest " + text_of(guest->second.guest) + " under " + text_of(slot->second.grant));
      }
    }
    if (state_.published.contains(0)) violated("something was published in quarantine");
  }

  KernelState state_;
  std::map<std::uint32_t, operation::PutRules> rules_;  // with what they open
  std::uint32_t next_ifindex_ = 90;
  std::string failing_;
  std::function<bool()> dice_;
  std::function<bool(const Operation&)> chosen_;
  std::function<bool(const std::string&, const std::string&)> allowed_;
  std::vector<std::string> violations_;
  std::set<std::uint64_t> policy_ids_, versions_;
  std::set<std::uint32_t> before_;  // endpoint_ids of interfaces that are gone
};

}  // namespace grantd::model
