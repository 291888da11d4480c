#include "agent/plan/encode.h"
#include "agent/plan/planner.h"
#include "agent/plan/queue_classes.h"

namespace grantd {

namespace {
constexpr const char* kSubject = "shaper";
constexpr BootNanoseconds kAgainSoon = 10'000'000;
}  // namespace

// Queues come after what stands at their end, guests' records after their classes; what is to wait no more goes to the
// bucket alone before its class is taken away. The bucket holds a limit from its publication on, so nothing that is
// enforced waits for a queue.
void Planner::plan_queues() {
  std::map<std::uint32_t, QueueClass> classes;
  std::map<std::uint32_t, grantd_queue> queues;
  const bool wanted = facts_.shaper == GRANTD_SHAPER_HTB, there = kernel_.shaper.queue_ifindex != 0;
  plan_shaper(wanted && there);
  if (wanted && !there) {
    add(Names, kSubject, operation::MakeQueues{});
    plan_.next_due = std::min(plan_.next_due, facts_.now + kAgainSoon);
  }
  if (wanted && there) want_queues(classes, queues);
  for (const auto& [minor, one] : classes) {
    const auto have = kernel_.shaper.classes.find(minor);
    if (have == kernel_.shaper.classes.end() || have->second != one)
      add(Names, kSubject, operation::PutClass{minor, one});
  }
  for (const auto& [endpoint_id, queue] : queues) {
    const auto have = kernel_.queues.find(endpoint_id);
    if (have == kernel_.queues.end() || !same_bytes(have->second, queue))
      add(Names, kSubject, operation::PutQueue{endpoint_id, queue});
  }
  for (const auto& [endpoint_id, queue] : kernel_.queues)
    if (!queues.contains(endpoint_id)) add(Close, kSubject, operation::RemoveQueue{endpoint_id});
  for (const std::uint32_t ifindex : kernel_.devices)
    if (!devices_.contains(ifindex)) add(Retire, interface_subject(ifindex), operation::RemoveDevice{ifindex});
  if (!wanted && there) {
    add(Retire, kSubject, operation::RemoveQueues{});
    return;
  }
  // Guests' classes before those that they are in: the larger numbers first.
  for (auto have = kernel_.shaper.classes.rbegin(); have != kernel_.shaper.classes.rend(); ++have)
    if (!classes.contains(have->first)) add(Retire, kSubject, operation::RemoveClass{have->first});
}

void Planner::plan_shaper(bool usable) {
  grantd_shaper record{};
  record.mode = facts_.shaper;
  record.secret = kernel_.shaper_record.secret ? kernel_.shaper_record.secret : facts_.shaper_secret;
  copy_text(record.why, facts_.shaper_why);
  if (usable) {
    record.queue_ifindex = kernel_.shaper.queue_ifindex;
    record.release_ifindex = kernel_.shaper.release_ifindex;
    attach({Hook::FromQueue, kernel_.shaper.release_ifindex, 0}, kSubject);
  }
  if (!same_bytes(record, kernel_.shaper_record)) add(usable ? Names : Close, kSubject, operation::PutShaper{record});
}

const grantd_policy* Planner::policy_after(std::uint32_t slot) const {
  const auto published = published_.find(slot);
  if (published == published_.end()) return nullptr;
  if (const auto made = made_policies_.find(published->second); made != made_policies_.end()) return &made->second;
  const auto have = kernel_.policies.find(published->second);
  return have == kernel_.policies.end() ? nullptr : &have->second;
}

// A number that the guest has already is its own for as long as it is under the same Grant.
std::uint32_t Planner::number_in_queues(const LimitedGuest& guest, TakenNumbers& taken) const {
  if (const auto have = kernel_.queues.find(guest.endpoint_id); have != kernel_.queues.end()) {
    for (std::uint32_t direction = 0; direction < GRANTD_DIRECTIONS; direction++) {
      const std::uint32_t minor = minor_of(have->second.class_id[direction]);
      if (minor < kFirstGuestMinor) continue;
      const auto there = kernel_.shaper.classes.find(minor);
      if (there == kernel_.shaper.classes.end() || there->second.parent == grant_minor(guest.slot, direction))
        return guest_number(minor);
    }
  }
  while (taken.first_free < kGuestNumbers && !taken.numbers.insert(taken.first_free).second) taken.first_free++;
  return taken.first_free;
}

void Planner::want_queues(std::map<std::uint32_t, QueueClass>& classes, std::map<std::uint32_t, grantd_queue>& queues) {
  std::map<std::uint32_t, std::size_t> guests;  // by slot
  for (const LimitedGuest& guest : limited_guests_) guests[guest.slot]++;
  TakenNumbers taken;
  for (const auto& [endpoint_id, queue] : kernel_.queues)
    for (const std::uint32_t each : queue.class_id)
      if (minor_of(each) >= kFirstGuestMinor) taken.numbers.insert(guest_number(minor_of(each)));
  for (const auto& [minor, one] : kernel_.shaper.classes)
    if (minor >= kFirstGuestMinor) taken.numbers.insert(guest_number(minor));
  for (const LimitedGuest& guest : limited_guests_) {
    const grantd_policy* policy = policy_after(guest.slot);
    if (!policy || !has_grant_minor(guest.slot) ||
        (!policy->limit[GRANTD_EGRESS].rate_bps && !policy->limit[GRANTD_INGRESS].rate_bps))
      continue;
    devices_.insert(guest.ifindex);
    if (!guest.attached || !kernel_.devices.contains(guest.ifindex)) {
      // Each by itself: one that has gone meanwhile is no trouble of the others.
      add(Names, interface_subject(guest.ifindex), operation::PutDevice{guest.ifindex});
      plan_.next_due = std::min(plan_.next_due, facts_.now + kAgainSoon);
      // Nothing of it begins to wait until it is known to come back.
      if (!kernel_.queues.contains(guest.endpoint_id)) continue;
    }
    // Nor before its record is there, which may fail.
    const auto known = kernel_.endpoints.find(guest.ifindex);
    if (known == kernel_.endpoints.end() || known->second.endpoint_id != guest.endpoint_id) {
      plan_.next_due = std::min(plan_.next_due, facts_.now + kAgainSoon);
      continue;
    }
    const std::uint32_t number = number_in_queues(guest, taken);
    if (number == kGuestNumbers) continue;  // no room: the bucket alone holds it
    grantd_queue& queue = queues[guest.endpoint_id];
    for (std::uint32_t direction = 0; direction < GRANTD_DIRECTIONS; direction++) {
      const grantd_limit& limit = policy->limit[direction];
      if (!limit.rate_bps) continue;
      const std::uint32_t parent = grant_minor(guest.slot, direction), minor = guest_minor(number, direction);
      classes[parent] = grant_class(limit);
      classes[minor] = guest_class(limit, direction, parent, guests[guest.slot], kernel_.shaper.fair_queues);
      queue.class_id[direction] = class_id(minor);
    }
  }
}

}  // namespace grantd
