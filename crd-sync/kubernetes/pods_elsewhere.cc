#include "crd-sync/kubernetes/pods_elsewhere.h"

#include "crd-sync/canonical.h"

#include <algorithm>
#include <utility>

namespace grantd {

PodsElsewhere::Followed::Followed(const std::string& namespace_name, const std::string& node, std::uint64_t seed)
    : pods(keep_pod()), reflector(elsewhere_reflector(namespace_name, node), pods, seed + hash_text(namespace_name)) {}

bool PodsElsewhere::Followed::settled() const {
  const auto& errors = reflector.counters().errors;
  return pods.complete() || std::any_of(errors.begin(), errors.end(), [](std::uint64_t count) { return count > 0; });
}

void PodsElsewhere::want(const std::set<std::string>& namespaces, ApiClient& client) {
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
    given_up_ += each->second->pods.revision() + 2;
    each = followed_.erase(each);
  }
  for (const std::string& each : wanted) {
    auto& followed = followed_[each];
    if (followed) continue;
    followed = std::make_unique<Followed>(each, node_, seed_);
    client.follow(followed->reflector);
  }
}

bool PodsElsewhere::settled() const {
  return std::all_of(followed_.begin(), followed_.end(), [](const auto& each) { return each.second->settled(); });
}

Pods::Objects PodsElsewhere::objects() const {
  Pods::Objects all;
  for (const auto& [name, followed] : followed_)
    all.insert(followed->pods.objects().begin(), followed->pods.objects().end());
  return all;
}

std::uint64_t PodsElsewhere::revision() const {
  std::uint64_t sum = given_up_;
  for (const auto& [name, followed] : followed_) sum += followed->pods.revision() + (followed->settled() ? 1 : 0);
  return sum;
}

}  // namespace grantd
