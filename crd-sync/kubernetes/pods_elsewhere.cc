#include "crd-sync/kubernetes/pods_elsewhere.h"

#include "crd-sync/canonical.h"
#include "crd-sync/kubernetes/guests.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace grantd {
namespace {

void count_in(const ReflectorCounters& one, ReflectorCounters& all) {
  all.lists += one.relists();
  all.events += one.events;
  for (std::size_t reason = 0; reason < kApiErrorReasons; ++reason) all.errors[reason] += one.errors[reason];
}

// What no time changes by itself: a right that is missing, a namespace without an end.
bool is_final(ApiErrorReason reason) {
  return reason == ApiErrorReason::Forbidden || reason == ApiErrorReason::NotFound || reason == ApiErrorReason::TooMany;
}

}  // namespace

PodsElsewhere::Followed::Followed(const std::string& namespace_name, const std::string& node, std::uint64_t seed)
    : pods(keep_pod(), Pods::kMostObjects, kMostBytes),
      reflector(elsewhere_reflector(namespace_name, node), pods, seed + hash_text(namespace_name)) {}

bool PodsElsewhere::settled(const Followed& followed, ApiTime now) const {
  if (followed.pods.complete() || now >= awaited_until_) return true;
  const auto& errors = followed.reflector.counters().errors;
  for (std::size_t reason = 0; reason < kApiErrorReasons; ++reason)
    if (errors[reason] > 0 && is_final(static_cast<ApiErrorReason>(reason))) return true;
  return false;
}

void PodsElsewhere::want(const std::set<std::string>& namespaces, ApiClient& client, ApiTime now) {
  std::set<std::string> wanted;
  for (const std::string& each : namespaces)
    if (wanted.size() < kMostNamespaces) wanted.insert(each);
  left_out_ = namespaces.size() - wanted.size();
  for (auto each = followed_.begin(); each != followed_.end();) {
    if (wanted.contains(each->first)) {
      ++each;
      continue;
    }
    client.unfollow(each->second->reflector);
    if (!counted_before_) counted_before_.emplace().lists = 1;
    count_in(each->second->reflector.counters(), *counted_before_);
    given_up_ += each->second->pods.revision() + 2;
    each = followed_.erase(each);
  }
  if (!wanted.empty()) awaited_until_ = std::min(awaited_until_, now + believed_);
  for (const std::string& each : wanted) {
    auto& followed = followed_[each];
    if (followed) continue;
    followed = std::make_unique<Followed>(each, node_, seed_);
    client.follow(followed->reflector);
  }
}

bool PodsElsewhere::settled(ApiTime now) const {
  return std::all_of(followed_.begin(), followed_.end(), [&](const auto& each) { return settled(*each.second, now); });
}

bool PodsElsewhere::believes(const Followed& followed, ApiTime now) const {
  const auto lag = followed.reflector.counters().lag(now);
  return lag && *lag < believed_;
}

std::vector<Workload> PodsElsewhere::guests(const Namespaces::Objects& namespaces, const std::string& pattern,
                                            ApiTime now) const {
  std::vector<Workload> all;
  for (const auto& [name, followed] : followed_) {
    if (!believes(*followed, now)) continue;
    auto some = guests_of(namespaces, followed->pods.objects(), pattern);
    all.insert(all.end(), std::make_move_iterator(some.begin()), std::make_move_iterator(some.end()));
  }
  return all;
}

std::vector<std::string> PodsElsewhere::doubted(ApiTime now) const {
  std::vector<std::string> names;
  for (const auto& [name, followed] : followed_)
    if (followed->pods.complete() && !believes(*followed, now)) names.push_back(name);
  return names;
}

std::optional<ReflectorCounters> PodsElsewhere::counters(ApiTime now) const {
  if (followed_.empty()) return counted_before_;
  ReflectorCounters all = counted_before_.value_or(ReflectorCounters{});
  all.lists = std::max<std::uint64_t>(all.lists, 1);
  all.following = true;
  const auto& first = followed_.begin()->second->reflector.counters();
  all.last_contact = first.last_contact;
  for (const auto& [name, followed] : followed_) {
    const ReflectorCounters& one = followed->reflector.counters();
    count_in(one, all);
    all.last_contact = std::min(all.last_contact, one.last_contact);  // nothing comes first
    if (one.current(now)) continue;
    if (!all.following && all.followed_at <= one.followed_at) continue;
    all.followed_at = one.followed_at;
    all.last_error = one.last_error.empty() ? "" : one.last_error + " (of other nodes, in namespace " + name + ")";
    all.following = false;
  }
  return all;
}

std::uint64_t PodsElsewhere::revision(ApiTime now) {
  for (const auto& [name, followed] : followed_)
    if (believes(*followed, now) != followed->believed) {
      followed->believed = !followed->believed;
      ++turns_;
    }
  std::uint64_t sum = given_up_ + turns_;
  for (const auto& [name, followed] : followed_) sum += followed->pods.revision() + (settled(*followed, now) ? 1 : 0);
  return sum;
}

ApiTime PodsElsewhere::due(ApiTime now) const {
  ApiTime due = ApiTime::max();
  const auto at = [&](ApiTime time) {
    if (time > now) due = std::min(due, time);
  };
  for (const auto& [name, followed] : followed_) {
    const ReflectorCounters& counters = followed->reflector.counters();
    if (!settled(*followed, now)) at(awaited_until_);
    if (counters.following) at(counters.follows_from);
    if (!counters.current(now) && counters.followed_at) at(*counters.followed_at + believed_);
  }
  return due;
}

}  // namespace grantd
