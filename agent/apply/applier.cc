#include "agent/apply/applier.h"

#include "agent/plan/encode.h"
#include "agent/plan/in_force.h"
#include "agent/plan/width.h"

#include <algorithm>
#include <cerrno>
#include <set>

namespace grantd {

namespace {

bool same(const RuleSet& one, const RuleSet& other) {
  return one.digest == other.digest && one.sources_digest == other.sources_digest &&
         one.rules.size() == other.rules.size() && one.identity_rules.size() == other.identity_rules.size();
}
bool same(std::uint32_t one, std::uint32_t other) { return one == other; }
bool same(std::uint64_t one, std::uint64_t other) { return one == other; }
bool same(const QueueClass& one, const QueueClass& other) { return one == other; }
bool same(const IdentityName& one, const IdentityName& other) { return one == other; }
template <typename Record>
bool same(const Record& one, const Record& other) {
  return same_bytes(one, other);
}

// Keys that only one has, or that differ.
template <typename Map>
std::size_t differences(const Map& one, const Map& other) {
  std::size_t count = 0;
  for (const auto& [key, value] : one) {
    const auto found = other.find(key);
    if (found == other.end() || !same(value, found->second)) count++;
  }
  for (const auto& [key, value] : other)
    if (!one.contains(key)) count++;
  return count;
}

template <typename Value>
std::size_t differences(const std::set<Value>& one, const std::set<Value>& other) {
  std::vector<Value> only;
  std::set_symmetric_difference(one.begin(), one.end(), other.begin(), other.end(), std::back_inserter(only));
  return only.size();
}

std::size_t differences(const KernelState& one, const KernelState& other) {
  return differences(one.published, other.published) + differences(one.policies, other.policies) +
         differences(one.rule_sets, other.rule_sets) + differences(one.endpoints, other.endpoints) +
         differences(one.host_guests, other.host_guests) + differences(one.prefixes, other.prefixes) +
         differences(one.uplinks, other.uplinks) + differences(one.slot_names, other.slot_names) +
         differences(one.identity_names, other.identity_names) + differences(one.guests, other.guests) +
         differences(one.tables, other.tables) + differences(one.attachments, other.attachments) +
         differences(one.queues, other.queues) + differences(one.devices, other.devices) +
         differences(one.shaper.classes, other.shaper.classes) + !same(one.shaper_record, other.shaper_record) +
         !same(one.node, other.node) + !same(one.bounds, other.bounds);
}

bool believes_somebody(const grantd_uplink& uplink) { return uplink.uplink_class != GRANTD_UPLINK_UNTRUSTED; }

bool makes_believe_somebody(const Operation& operation) {
  const auto* put = std::get_if<operation::PutUplink>(&operation);
  return put && believes_somebody(put->uplink);
}

// Of what does not: without an attachment a guest is open, and what comes to an index must not meet the record of what
// was there before; an uplink that believes nobody opens nothing.
bool bears_numbers(const Operation& operation) {
  if (std::holds_alternative<operation::PutUplink>(operation)) return makes_believe_somebody(operation);
  return !std::holds_alternative<operation::Attach>(operation) &&
         !std::holds_alternative<operation::RemoveEndpoint>(operation) &&
         !std::holds_alternative<operation::RemoveUplink>(operation);
}

// A number that no record bears is to be in no queue.
bool waits_for_closed(const Operation& operation, const ApplyReport& report) {
  const auto* queue = std::get_if<operation::PutQueue>(&operation);
  return queue && std::find(report.closed_guests.begin(), report.closed_guests.end(), queue->endpoint_id) !=
                      report.closed_guests.end();
}

// The first of the two that a guest needs.
bool begins_guest(const Operation& operation) {
  const auto* attach = std::get_if<operation::Attach>(&operation);
  return attach && attach->attachment.hook == Hook::FromGuest;
}

// The interface of a guest that a program comes to; 0 for anything else.
std::uint32_t guest_interface(const Operation& operation) {
  const auto* attach = std::get_if<operation::Attach>(&operation);
  return attach && is_guest_hook(attach->attachment.hook) ? attach->attachment.ifindex : 0;
}

// What failed before, as far as it keeps others from their turn.
class Broken {
 public:
  bool has(const std::string& subject) const { return subjects_.contains(subject); }
  // Without its programs an interface is open: they come whatever else of its guest fails, which may have several.
  bool has(const Step& step) const {
    const std::uint32_t ifindex = guest_interface(step.operation);
    return ifindex ? interfaces_.contains(ifindex) : has(step.subject);
  }
  void add(const Step& step) {
    subjects_.insert(step.subject);
    if (const std::uint32_t ifindex = guest_interface(step.operation)) interfaces_.insert(ifindex);
    hold_back(step);
  }
  // A number without its name would not rest before it is another's: no address is to bear it, and no policy of the
  // Grant whose guests it stands for.
  void hold_back(const Step& step) {
    if (std::holds_alternative<operation::PutIdentityName>(step.operation))
      subjects_.insert({kIdentitiesSubject, step.subject});
  }

 private:
  std::set<std::string> subjects_;
  std::set<std::uint32_t> interfaces_;
};

template <typename Key>
const grantd_endpoint* record_of(const std::map<Key, grantd_endpoint>& records, Key key) {
  const auto at = records.find(key);
  return at == records.end() ? nullptr : &at->second;
}

}  // namespace

Result<std::size_t> Applier::refresh(BootNanoseconds now) {
  auto read = kernel_.read();
  if (!read) return read.error();
  const std::size_t drift = fresh_ ? 0 : differences(state_, read.value());
  auto retired_at = std::move(state_.retired_at);
  auto unused_since = std::move(state_.unused_since);
  auto without_guests_since = std::move(state_.without_guests_since);
  state_ = std::move(read).value();
  std::set<std::uint64_t> in_force;
  for (const auto& [slot, policy_id] : state_.published) in_force.insert(policy_id);
  for (const auto& [policy_id, policy] : state_.policies) {
    if (in_force.contains(policy_id)) continue;
    const auto since = retired_at.find(policy_id);
    state_.retired_at[policy_id] = since == retired_at.end() ? now : since->second;
  }
  state_.unused_since = std::move(unused_since);
  note_unused_numbers(now, state_);
  state_.without_guests_since = std::move(without_guests_since);
  note_slots_without_guests(now, state_);
  fresh_ = false;
  return drift;
}

Result<std::size_t> Applier::refresh_attachments() {
  auto read = kernel_.read_attachments();
  if (!read) return read.error();
  state_.attachments = std::move(read.value().first);
  state_.behind = std::move(read.value().behind);
  auto shaper = kernel_.read_shaper(state_.shaper);
  if (!shaper) return shaper.error();
  const std::size_t drift = differences(state_.shaper.classes, shaper.value().classes);
  state_.shaper = std::move(shaper).value();
  return drift;
}

ApplyReport Applier::apply(const Plan& plan, BootNanoseconds now, const std::function<bool()>& postpone) {
  const auto begin = std::chrono::steady_clock::now();
  ApplyReport report;
  Broken broken;
  bool stays_open = false;  // what was to be closed
  bool attaches = true;
  for (const Step& step : plan.steps) {
    // Numbers that could not be written down are not given out: a restart would give them out again.
    if (broken.has(step) || (broken.has(kNodeSubject) && bears_numbers(step.operation)) ||
        (step.after >= After::Losses && broken.has(kLossesSubject)) || (step.after >= After::Doubt && stays_open) ||
        waits_for_closed(step.operation, report) ||
        (report.nobody_believed && makes_believe_somebody(step.operation))) {
      report.left_out++;
      report.due.insert(step.subject);
      broken.hold_back(step);
      stays_open |= !leave_out(plan, step, now, report);
      continue;
    }
    if (begins_guest(step.operation)) {
      attaches = attaches && !(postpone && postpone());
      if (!attaches) {
        broken.add(step);
        report.left_out++;
        report.due.insert(step.subject);
        report.postponed.insert(step.subject);
        continue;
      }
    }
    auto done = perform(step.operation, now);
    if (done) {
      report.done++;
      if (!step.afterwards) report.in_force = std::chrono::steady_clock::now() - begin;
      continue;
    }
    broken.add(step);
    report.due.insert(step.subject);
    errors_[operation_name(step.operation)]++;
    report.failed.push_back({operation_name(step.operation), step.subject, done.error()});
    if (std::holds_alternative<operation::Attach>(step.operation) && done.error().error_number == ENODEV)
      continue;  // out of an interface that is gone comes nothing
    stays_open |= !leave_out(plan, step, now, report);
  }
  wanted_rules_.reset();
  note_unused_numbers(now, state_);
  note_slots_without_guests(now, state_);
  return report;
}

Result<void> Applier::perform(const Operation& operation, BootNanoseconds now) {
  if (const auto* renumber = std::get_if<operation::RenumberRules>(&operation); renumber && renumber->found.empty()) {
    auto filled = with_what_stands_there(*renumber);
    if (!filled) return filled.error();
    if (!filled.value().found.empty()) return perform(std::move(filled).value(), now);
  }
  if (const auto* copy = std::get_if<operation::CopyRules>(&operation)) return copy_rules(*copy, now);
  auto done = kernel_.perform(operation);
  if (done) record(operation, now, state_);
  if (const auto* make = std::get_if<operation::MakeTables>(&operation); !done && make && make->slots.size() > 1)
    return make_as_many_as_fit(*make, now);
  return done;
}

// Where there is no memory for all of them, Grants have theirs that there is memory for.
Result<void> Applier::make_as_many_as_fit(const operation::MakeTables& make, BootNanoseconds now) {
  for (const std::uint32_t slot : make.slots)
    if (auto done = perform(operation::MakeTables{{slot}, make.flows}, now); !done) return done;
  return {};
}

Result<operation::RenumberRules> Applier::with_what_stands_there(operation::RenumberRules renumber) {
  RuleSet asked;
  for (const grantd_idrule_key& key : state_.rule_sets.at(renumber.rules_id).identity_rules)
    if (renumber.numbers.contains(key.identity)) asked.identity_rules.push_back(key);
  auto found = kernel_.read_rules(renumber.rules_id, asked);
  if (!found) return found.error();
  renumber.found = std::move(found.value().identity_rules);
  return renumber;
}

Result<void> Applier::copy_rules(const operation::CopyRules& copy, BootNanoseconds now) {
  auto from = kernel_.read_rules(copy.from, state_.rule_sets.at(copy.from));
  if (!from) return from.error();
  return perform(copied(copy, std::move(from).value()), now);
}

bool Applier::leave_out(const Plan& plan, const Step& step, BootNanoseconds now, ApplyReport& report) {
  if (const auto* put = std::get_if<operation::PutEndpoint>(&step.operation))
    return leave_out_guest(put->endpoint, record_of(state_.endpoints, put->endpoint->ifindex),
                           operation::RemoveEndpoint{put->endpoint->ifindex}, step, now, report);
  if (const auto* put = std::get_if<operation::PutHostGuest>(&step.operation))
    return leave_out_guest(put->endpoint, record_of(state_.host_guests, put->cgroup_id),
                           operation::RemoveHostGuest{put->cgroup_id}, step, now, report);
  if (std::holds_alternative<operation::Attach>(step.operation)) return leave_out_tunnel(step, now, report);
  return leave_out_policy(plan, step, now, report);
}

bool Applier::leave_out_tunnel(const Step& step, BootNanoseconds now, ApplyReport& report) {
  if (step.narrows == Narrows::No) return true;
  report.nobody_believed = true;
  bool closed = true;
  const auto uplinks = state_.uplinks;
  for (const auto& [ifindex, record] : uplinks)
    if (believes_somebody(record)) closed = close(operation::RemoveUplink{ifindex}, step, now, report) && closed;
  return closed;
}

bool Applier::leave_out_policy(const Plan& plan, const Step& step, BootNanoseconds now, ApplyReport& report) {
  const auto* publish = std::get_if<operation::Publish>(&step.operation);
  if (!publish || step.narrows == Narrows::No || !state_.published.contains(publish->slot)) return true;
  if (step.narrows == Narrows::WhereItsRulesDo && rules_open_as_much(plan, *publish)) return true;
  if (!close(operation::Publish{publish->slot, 0}, step, now, report)) return false;
  report.closed.push_back(publish->slot);
  return true;
}

bool Applier::leave_out_guest(const grantd_endpoint& wanted, const grantd_endpoint* current, const Operation& remove,
                              const Step& step, BootNanoseconds now, ApplyReport& report) {
  if (!current || opens_as_much(wanted, *current)) return true;
  const std::uint32_t endpoint_id = current->endpoint_id;
  if (!close(remove, step, now, report)) return false;
  report.closed_guests.push_back(endpoint_id);
  return true;
}

bool Applier::close(const Operation& operation, const Step& step, BootNanoseconds now, ApplyReport& report) {
  const auto closed = perform(operation, now);
  if (closed) return true;
  errors_[operation_name(operation)]++;
  report.failed.push_back({operation_name(operation), step.subject, closed.error()});
  return false;
}

// Asked only where a step failed, so nobody keeps what each rule in force opens.
bool Applier::rules_open_as_much(const Plan& plan, const operation::Publish& publish) {
  const auto current = state_.policies.find(state_.published.at(publish.slot));
  if (current == state_.policies.end()) return false;
  const auto known = state_.rule_sets.find(current->second.rules_id);
  if (known == state_.rule_sets.end()) return false;
  if (!wanted_rules_) {
    wanted_rules_.emplace();
    for (const Step& step : plan.steps)
      if (const auto* policy = std::get_if<operation::PutPolicy>(&step.operation))
        wanted_rules_->by_policy[policy->policy_id] = policy->policy->rules_id;
      else if (const auto* rules = std::get_if<operation::PutRules>(&step.operation))
        wanted_rules_->by_id[rules->rules_id] = rules;
  }
  const auto policy = wanted_rules_->by_policy.find(publish.policy_id);
  if (policy == wanted_rules_->by_policy.end()) return false;
  const auto wanted = wanted_rules_->by_id.find(policy->second);
  if (wanted == wanted_rules_->by_id.end()) return false;
  const auto opened = kernel_.read_rules(known->first, known->second);
  return opened && opens_as_much(*wanted->second, opened.value());
}

}  // namespace grantd
