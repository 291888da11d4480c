#include "agent/ctl/verify/queue_differences.h"

#include "agent/plan/encode.h"
#include "agent/plan/queue_classes.h"
#include "agent/snapshot/snapshot.h"

#include <algorithm>

namespace grantd {

namespace {

class QueueComparison {
 public:
  explicit QueueComparison(const KernelState& state) : state_(state) {
    for (const auto& [minor, one] : state_.shaper.classes) {
      fair_queues_ = fair_queues_ || one.fair;
      guest_numbers_ += minor >= kFirstGuestMinor && minor % GRANTD_DIRECTIONS == 0;
    }
    for (const auto& [ifindex, endpoint] : state_.endpoints)
      if (waits(endpoint)) guests_[endpoint.slot]++;
  }

  std::vector<std::string> run() {
    if (compare_shaper())
      for (const auto& [ifindex, endpoint] : state_.endpoints)
        if (waits(endpoint)) compare_guest(endpoint);
    for (const auto& [endpoint_id, queue] : state_.queues)
      if (!waiting_.contains(endpoint_id)) lines_.push_back(guest_text(endpoint_id) + ": waits under no limit");
    for (const auto& [minor, one] : state_.shaper.classes)
      if (!classes_.contains(minor)) lines_.push_back(class_text(minor) + ": is no limit's");
    return std::move(lines_);
  }

 private:
  void compare(const std::string& whose, const char* what, std::uint64_t in_force, std::uint64_t wanted) {
    if (in_force != wanted)
      lines_.push_back(whose + ": " + what + " is " + std::to_string(in_force) + "; by the limit in force " +
                       std::to_string(wanted));
  }

  std::string guest_text(std::uint32_t endpoint_id) const {
    const auto guest = state_.guests.find(endpoint_id);
    return "guest " + (guest == state_.guests.end() ? std::to_string(endpoint_id) : text_of(guest->second.guest));
  }

  // What has no L2 header cannot come back from a queue.
  static bool waits(const grantd_endpoint& endpoint) {
    return endpoint.slot != 0 && !(endpoint.flags & GRANTD_ENDPOINT_LAYER3);
  }

  const grantd_policy* policy_of(std::uint32_t slot) const {
    const auto published = state_.published.find(slot);
    if (published == state_.published.end()) return nullptr;
    const auto policy = state_.policies.find(published->second);
    return policy == state_.policies.end() ? nullptr : &policy->second;
  }

  // Whether there are queues to compare.
  bool compare_shaper() {
    const grantd_shaper& record = state_.shaper_record;
    if (record.mode != GRANTD_SHAPER_HTB) return false;
    if (state_.shaper.queue_ifindex == 0) {
      lines_.emplace_back("queues: are not there; by the agent's choice (htb) they are");
      return false;
    }
    compare("queues", "queue_ifindex", record.queue_ifindex, state_.shaper.queue_ifindex);
    compare("queues", "release_ifindex", record.release_ifindex, state_.shaper.release_ifindex);
    return true;
  }

  void compare_guest(const grantd_endpoint& endpoint) {
    const grantd_policy* policy = policy_of(endpoint.slot);
    if (!policy || !has_grant_minor(endpoint.slot)) return;
    const std::string whose = guest_text(endpoint.endpoint_id);
    const auto queue = state_.queues.find(endpoint.endpoint_id);
    bool limited = false;
    for (const std::uint32_t direction : {GRANTD_EGRESS, GRANTD_INGRESS}) {
      const std::uint32_t class_id = queue == state_.queues.end() ? 0 : queue->second.class_id[direction];
      const grantd_limit& limit = policy->limit[direction];
      limited = limited || limit.rate_bps;
      if (class_id != 0 && !limit.rate_bps)
        lines_.push_back(whose + ": " + direction_name(direction) + " waits under no limit");
      else if (class_id == 0 && limit.rate_bps &&
               guest_numbers_ < kGuestNumbers)  // the bucket alone holds what has no room
        lines_.push_back(whose + ": " + direction_name(direction) + " does not wait; by the limit in force it does");
      else if (class_id != 0)
        compare_classes(whose, endpoint.slot, direction, limit, minor_of(class_id));
    }
    if (!limited) return;
    waiting_.insert(endpoint.endpoint_id);
    if (queue != state_.queues.end() && !state_.devices.contains(endpoint.ifindex))
      lines_.push_back(whose + ": what has waited may not come back to its interface");
  }

  void compare_classes(const std::string& whose, std::uint32_t slot, std::uint32_t direction, const grantd_limit& limit,
                       std::uint32_t minor) {
    const std::uint32_t parent = grant_minor(slot, direction);
    if (classes_.insert(parent).second) {
      const auto name = state_.slot_names.find(slot);
      const std::string grant = name == state_.slot_names.end() ? std::to_string(slot) : text_of(name->second.grant);
      compare_class("Grant " + grant, direction, parent, grant_class(limit));
    }
    if (!classes_.insert(minor).second) lines_.push_back(whose + ": waits in another guest's " + class_text(minor));
    compare_class(whose, direction, minor, guest_class(limit, direction, parent, guests_.at(slot), fair_queues_));
  }

  void compare_class(const std::string& whose, std::uint32_t direction, std::uint32_t minor, const QueueClass& wanted) {
    const std::string of = whose + ": " + class_text(minor) + " of " + direction_name(direction);
    const auto found = state_.shaper.classes.find(minor);
    if (found == state_.shaper.classes.end()) {
      lines_.push_back(of + " is not there");
      return;
    }
    const QueueClass& one = found->second;
    compare(of, "parent", one.parent, wanted.parent);
    compare(of, "rate_bytes", one.rate_bytes, wanted.rate_bytes);
    compare(of, "ceil_bytes", one.ceil_bytes, wanted.ceil_bytes);
    compare(of, "burst_ns", one.burst_ns, wanted.burst_ns);
    compare(of, "ceil_burst_ns", one.ceil_burst_ns, wanted.ceil_burst_ns);
    compare(of, "quantum_bytes", one.quantum_bytes, wanted.quantum_bytes);
    compare(of, "queue_bytes", one.queue_bytes, wanted.queue_bytes);
    compare(of, "fair", one.fair, wanted.fair);
  }

  const KernelState& state_;
  bool fair_queues_ = false;  // as one of them says: whether the kernel has them is found out by making one
  std::uint32_t guest_numbers_ = 0;
  std::map<std::uint32_t, std::size_t> guests_;  // that share a Grant's limit, by slot
  std::set<std::uint32_t> waiting_, classes_;
  std::vector<std::string> lines_;
};

}  // namespace

std::vector<std::string> queue_differences(const KernelState& state) { return QueueComparison(state).run(); }

}  // namespace grantd
