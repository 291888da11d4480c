#include "agent/guests/match.h"

#include "crd-sync/problem.h"
#include "maps/abi/limits.h"

#include <algorithm>
#include <map>

namespace grantd {

namespace {

constexpr std::size_t kPathShown = 60;

bool names(const PodRecord& record, const InterfaceFact& fact) {
  return std::find(record.host_interfaces.begin(), record.host_interfaces.end(), fact.name) !=
             record.host_interfaces.end() &&
         (record.ifindex == 0 || record.ifindex == fact.ifindex);
}

bool too_many(const std::vector<IpAddress>& addresses) {
  const auto version4 = std::count_if(addresses.begin(), addresses.end(),
                                      [](const IpAddress& each) { return each.family == Family::IPv4; });
  return version4 > GRANTD_IPV4_PER_ENDPOINT ||
         static_cast<std::ptrdiff_t>(addresses.size()) - version4 > GRANTD_IPV6_PER_ENDPOINT;
}

std::string doubt_of(const InterfaceFact& fact, const std::vector<IpAddress>& recorded, PeerKernel& kernel) {
  if (recorded.empty()) return "no address of " + fact.name + " is on record";
  if (too_many(recorded)) return "it has more addresses than the 4 of each family that can be held";
  const auto there = kernel.addresses(fact.peer_netns_id, fact.peer_ifindex);
  if (!there) return "the addresses behind " + fact.name + " cannot be read: " + there.error().message;
  for (const IpAddress& address : recorded)
    if (std::find(there.value().begin(), there.value().end(), address) == there.value().end())
      return "address " + address.text() + " is on record and not behind " + fact.name;
  return "";
}

class Matcher {
 public:
  Matcher(const std::vector<PodRecord>& records, const std::vector<InterfaceFact>& interfaces, PeerKernel& kernel)
      : records_(records), interfaces_(interfaces), kernel_(kernel) {}

  std::vector<PodInterface> run() {
    for (const PodRecord& record : records_) match(record);
    std::vector<PodInterface> result;
    for (auto& [ifindex, interface] : found_) result.push_back(std::move(interface));
    return result;
  }

 private:
  void match(const PodRecord& record) {
    const auto id = kernel_.netns_id(record.netns);
    for (const InterfaceFact& fact : interfaces_) {
      if (fact.peer_ifindex == 0 || fact.peer_netns_id < 0) continue;
      if (id.ok() && id.value() == fact.peer_netns_id)
        take(fact, record);
      else if (!id && names(record, fact))
        found_.try_emplace(fact.ifindex, PodInterface{fact.ifindex, record.addresses,
                                                      "its network namespace " + escape_text(record.netns, kPathShown) +
                                                          " cannot be opened: " + id.error().message});
    }
  }

  // It is the pod's. Which addresses it has, the record says that names it; that one counts, whenever it comes.
  void take(const InterfaceFact& fact, const PodRecord& record) {
    const bool named = names(record, fact);
    const bool known = found_.contains(fact.ifindex);
    if (!named && known) return;
    // A result without interfaces' names can be of the only one alone.
    const bool only = record.host_interfaces.empty() && records_.size() == 1;
    const std::vector<IpAddress> addresses = named || only ? record.addresses : std::vector<IpAddress>();
    found_.insert_or_assign(fact.ifindex, PodInterface{fact.ifindex, addresses, doubt_of(fact, addresses, kernel_)});
  }

  const std::vector<PodRecord>& records_;
  const std::vector<InterfaceFact>& interfaces_;
  PeerKernel& kernel_;
  std::map<std::uint32_t, PodInterface> found_;
};

}  // namespace

std::vector<PodInterface> match_pod(const std::vector<PodRecord>& records, const std::vector<InterfaceFact>& interfaces,
                                    PeerKernel& kernel) {
  return Matcher(records, interfaces, kernel).run();
}

}  // namespace grantd
