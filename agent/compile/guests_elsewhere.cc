#include "agent/compile/guests_elsewhere.h"

#include <algorithm>

namespace grantd {

namespace {

Problem warning(const Workload& pod, const IpAddress& address, std::string message, std::string accepted) {
  return {Severity::Warning, pod.position,       pod.text(),         "status.podIPs",
          address.text(),    std::move(message), std::move(accepted)};
}

bool is_in(const std::vector<IpPrefix>& ranges, const IpAddress& address) {
  return std::any_of(ranges.begin(), ranges.end(), [&](const IpPrefix& each) { return each.contains(address); });
}

}  // namespace

std::map<IpAddress, std::string> guests_elsewhere(const std::vector<Workload>& pods, const GrantChoice& choice,
                                                  const std::set<std::string>& here, const NodeFacts& node,
                                                  std::vector<Problem>& problems) {
  std::map<IpAddress, std::string> owners;
  std::set<IpAddress> disputed;
  for (const Workload& pod : pods) {
    const std::string grant = pod.quarantine.empty() ? choice.of(*pod.pod).key : "";
    for (const IpAddress& address : pod.addresses) {
      const auto [owner, first] = owners.try_emplace(address, grant);
      if (!first && owner->second != grant) disputed.insert(address);
      if (!here.contains(grant)) continue;
      if (!is_in(node.pod_cidrs, address))
        problems.push_back(warning(pod, address, "is outside of the pod ranges; it is nobody's on this node",
                                   "an address in --pod-cidr"));
      else if (disputed.contains(address))
        problems.push_back(warning(pod, address, "is also another guest's; it is nobody's on this node", ""));
    }
  }
  std::erase_if(owners, [&](const auto& each) {
    return disputed.contains(each.first) || !here.contains(each.second) || !is_in(node.pod_cidrs, each.first);
  });
  return owners;
}

std::size_t leave_out_crowds(std::size_t most, std::map<IpAddress, std::string>& owners,
                             std::vector<Problem>& problems) {
  if (owners.size() <= most) return 0;
  std::map<std::string, std::size_t> counts;
  for (const auto& [address, grant] : owners) ++counts[grant];
  std::vector<std::pair<std::string, std::size_t>> largest(counts.begin(), counts.end());
  std::stable_sort(largest.begin(), largest.end(),
                   [](const auto& one, const auto& other) { return one.second > other.second; });
  std::set<std::string> crowds;
  std::size_t left_out = 0;
  for (auto each = largest.begin(); owners.size() - left_out > most; ++each) {
    crowds.insert(each->first);
    left_out += each->second;
    Problem problem;
    problem.object = "Grant " + each->first;
    problem.value = std::to_string(each->second);
    problem.message =
        "addresses of its guests on other nodes are more than there is room for; all of them are nobody on "
        "this node";
    problem.accepted = "at most " + std::to_string(most) + " of all Grants together, a quarter of --max-realm-prefixes";
    problems.push_back(std::move(problem));
  }
  std::erase_if(owners, [&](const auto& each) { return crowds.contains(each.second); });
  return left_out;
}

}  // namespace grantd
