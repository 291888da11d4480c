#include "agent/shape/guest_segments.h"

#include "agent/netlink/link_request.h"
#include "agent/netlink/netns_id.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <system_error>
#include <thread>

namespace grantd {

namespace {

constexpr BootNanoseconds kAgain = 60 * GRANTD_NS_PER_SECOND;  // after a failure: a look may go through all processes
constexpr std::uint64_t kPartsPerSecond = 4000, kSegmentBytes = 1448, kWholePacketBytes = 64 << 10;

Result<void> change_here(std::uint32_t ifindex, std::uint32_t segments) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  const NetlinkMessage message = link_request(RTM_NEWLINK, 0, ifindex);
  if (!message || nla_put_u32(message.get(), IFLA_GSO_MAX_SEGS, segments) < 0) return no_netlink_memory();
  return ask_netlink(socket.value().get(), message.get(), [](nlmsghdr*) {});
}

}  // namespace

std::uint32_t segments_under(std::uint64_t rate_bps, std::size_t guests) {
  const std::uint64_t bytes = rate_bps / 8 / kPartsPerSecond / std::max<std::size_t>(guests, 1);
  if (bytes >= kWholePacketBytes) return kAllSegments;
  return std::max<std::uint32_t>(static_cast<std::uint32_t>(bytes / kSegmentBytes), 1);
}

std::map<std::uint32_t, std::uint32_t> wanted_segments(const CompiledPolicy& policy, bool queues) {
  std::map<std::string, std::uint64_t> rates;
  std::map<std::string, std::size_t> guests;
  for (const CompiledGrant& grant : policy.grants) rates[grant.key] = grant.limit[GRANTD_EGRESS].rate_bps;
  for (const CompiledEndpoint& each : policy.endpoints) guests[each.grant]++;
  std::map<std::uint32_t, std::uint32_t> wanted;
  for (const CompiledEndpoint& each : policy.endpoints) {
    const auto rate = rates.find(each.grant);
    if (each.ifindex == 0 || each.host_network || rate == rates.end()) continue;
    const bool waits = queues && rate->second != 0 && !each.layer3;
    wanted[each.ifindex] = waits ? segments_under(rate->second, guests[each.grant]) : kAllSegments;
  }
  return wanted;
}

Result<void> set_segments(const InterfaceFact& host_end, std::uint32_t segments) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto netns = find_netns(socket.value().get(), host_end.peer_netns_id);
  if (!netns) return netns.error();
  Result<void> done;
  // The namespace is the thread's, and ends with it.
  try {
    std::thread([&] {
      done = setns(netns.value().get(), CLONE_NEWNET) == 0 ? change_here(host_end.peer_ifindex, segments)
                                                           : system_error("cannot enter its network namespace", errno);
    }).join();
  } catch (const std::system_error& failed) {
    return Error{std::string("cannot make a thread: ") + failed.what(), failed.code().value()};
  }
  return done;
}

// What a process may not do it may not do later.
bool GuestSegments::is_due(const Failure& failure, std::uint32_t segments, BootNanoseconds now) {
  if (failure.error.error_number == EPERM) return false;
  return failure.segments != segments || now >= failure.tried + kAgain;
}

std::vector<std::string> GuestSegments::keep(const std::map<std::uint32_t, std::uint32_t>& wanted,
                                             std::vector<InterfaceFact>& interfaces, BootNanoseconds now) {
  std::vector<std::string> failures;
  std::set<std::uint32_t> standing;
  for (const InterfaceFact& each : interfaces) standing.insert(each.ifindex);
  const auto is_gone = [&](const auto& known) { return !standing.contains(known.first); };
  std::erase_if(set_, is_gone);
  std::erase_if(failed_, is_gone);
  for (InterfaceFact& each : interfaces) {
    if (!has_segments(each)) continue;
    const End end{each.peer_netns_id, each.peer_ifindex};
    const auto set = set_.find(each.ifindex);
    const auto found = wanted.find(each.ifindex);
    // Whoever is no guest any more is left as it was found.
    if (found == wanted.end() && (set == set_.end() || set->second != end)) continue;
    const std::uint32_t segments = found == wanted.end() ? kAllSegments : found->second;
    if (each.peer_segments == segments) continue;
    const auto failed = failed_.find(each.ifindex);
    const bool failed_before = failed != failed_.end() && failed->second.end == end;
    if (failed_before && !is_due(failed->second, segments, now)) continue;
    if (const auto done = setter_(each, segments); !done) {
      if (!failed_before || failed->second.error.message != done.error().message)
        failures.push_back(each.name + ": " + done.error().message);
      failed_[each.ifindex] = {end, segments, done.error(), now};
      continue;
    }
    each.peer_segments = segments;
    set_[each.ifindex] = end;
    failed_.erase(each.ifindex);
  }
  return failures;
}

}  // namespace grantd
