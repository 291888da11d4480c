#include "tests/model/model.h"

#include "tests/model/case.h"

#include <algorithm>
#include <set>

namespace grantd::model {
namespace {

bool multicast(const IpAddress& address) {
  return address.family == Family::IPv4 ? address.bytes[0] >> 4 == 14 : address.bytes[0] == 0xff;
}

bool broadcast(const IpAddress& address) {
  return address.family == Family::IPv4 && address == IpAddress::parse("255.255.255.255").value();
}

bool martian(const IpAddress& address) {
  if (address.family == Family::IPv4)
    return address.bytes[0] == 0 || address.bytes[0] == 127 || address.bytes[0] >= 240;
  for (std::size_t i = 0; i < 15; i++)
    if (address.bytes[i] != 0) return false;
  return address.bytes[15] <= 1;  // ::, ::1
}

bool all_ones(const std::array<std::uint8_t, 6>& mac) {
  for (const std::uint8_t byte : mac)
    if (byte != 0xff) return false;
  return true;
}

// DHCP, DHCPv6 and mDNS.
bool chatter_port(const Packet& packet) {
  if (packet.protocol != kUdp || packet.later_fragment()) return false;
  for (const unsigned port : {67U, 68U, 546U, 547U, 5353U})
    if (packet.destination_port == port) return true;
  return false;
}

}  // namespace

void Model::apply(const Meaning& meaning, const std::map<std::string, Published>& published,
                  const std::map<std::uint32_t, std::uint32_t>& endpoint_ids,
                  const std::map<Who, std::uint32_t>& numbers) {
  for (const auto& [who, number] : numbers) {
    const auto before = numbers_.find(who);
    if (before != numbers_.end() && before->second != number) forget(who);
    numbers_[who] = number;
  }
  meaning_ = meaning;
  endpoint_ids_ = endpoint_ids;
  for (const auto& [key, now] : published) {
    const auto before = published_.find(key);
    if (before == published_.end() || before->second.flow_table != now.flow_table) tables_[key].flows.clear();
    if (before == published_.end() || before->second.fragment_table != now.fragment_table)
      tables_[key].fragments.clear();
  }
  published_ = published;
}

std::optional<Who> Model::loser_with_its_number(const Meaning& meaning,
                                                const std::map<Who, std::uint32_t>& numbers) const {
  const auto same_number = [&](const Who& who) {
    const auto before = numbers_.find(who), now = numbers.find(who);
    return before != numbers_.end() && now != numbers.end() && before->second == now->second;
  };
  std::vector<IpAddress> places;
  for (const Meaning* each : {&meaning_, &meaning}) {
    for (const Realm& realm : each->desired().realms)
      for (const RealmAddress& address : realm.addresses) places.push_back(address.prefix.address);
    for (const Workload& guest : each->desired().workloads)
      places.insert(places.end(), guest.addresses.begin(), guest.addresses.end());
  }
  for (const IpAddress& place : places) {
    for (const InterfaceFact& interface : meaning_.node().interfaces) {
      const Who who = meaning_.sender(place, interface.ifindex);
      if (!who.empty() && meaning.sender(place, interface.ifindex) != who && same_number(who)) return who;
    }
    const Who owner = meaning_.owner(place);
    if (meaning_.grant(owner) && meaning.owner(place) != owner && same_number(owner)) return owner;
  }
  return {};
}

void Model::forget(const Who& who) {
  const Who another = who + ", as it was";
  for (auto& [grant, tables] : tables_) {
    for (auto& [key, flow] : tables.flows)
      if (flow.peer == who) flow.peer = another;
    for (auto& [key, fragment] : tables.fragments)
      if (fragment.from == who) fragment.from = another;
  }
}

MaybeReason Model::in_force(const Case& one) const {
  if (!one.grant) return GRANTD_REASON_QUARANTINE;
  return meaning_.out_of_time(*one.grant, one.wall);
}

// A guest speaks for itself alone, and what reaches it is for it.
MaybeReason Model::own_address(const Case& one) const {
  const Packet& packet = one.packet;
  // Noise of the link comes from hosts that have no address yet, too.
  if (packet.icmp == IcmpKind::Chatter) return GRANTD_REASON_LINK_CHATTER;
  if ((multicast(packet.destination) || broadcast(packet.destination)) && chatter_port(packet))
    return GRANTD_REASON_LINK_CHATTER;
  if (packet.icmp == IcmpKind::Neighbour) return {};  // has rules of its own
  if (!Meaning::owns(*one.guest, one.local())) {
    if (one.local().is_link_local()) return GRANTD_REASON_LINK_LOCAL;
    if (one.egress) return GRANTD_REASON_SOURCE_ADDRESS;
    if (multicast(one.local())) return GRANTD_REASON_MULTICAST;
    return broadcast(one.local()) ? GRANTD_REASON_BROADCAST : GRANTD_REASON_NOT_FOR_GUEST;
  }
  if (one.peer().is_link_local()) return GRANTD_REASON_LINK_LOCAL;
  if (Meaning::owns(*one.guest, one.peer())) return GRANTD_REASON_MARTIAN;  // to itself, or from itself
  return {};
}

// A frame to a group carries no packet for one, but for neighbour discovery.
MaybeReason Model::group_frame(const Case& one) {
  if ((one.packet.destination_mac[0] & 1) == 0) return {};
  if (multicast(one.packet.destination)) return GRANTD_REASON_MULTICAST;
  return all_ones(one.packet.destination_mac) ? GRANTD_REASON_BROADCAST : GRANTD_REASON_MULTICAST;
}

// What no packet may go to or come from.
MaybeReason Model::impossible_peer(const Case& one) {
  if (multicast(one.peer())) return GRANTD_REASON_MULTICAST;
  if (broadcast(one.peer())) return GRANTD_REASON_BROADCAST;
  return martian(one.peer()) ? MaybeReason(GRANTD_REASON_MARTIAN) : MaybeReason();
}

Opinion Model::judge(const Arrival& arrival, BootNanoseconds boot, WallTime wall) {
  undo_.reset();
  Opinion opinion;
  opinion.bytes = arrival.frame.size();
  Case one{arrival, boot, wall};
  one.egress = arrival.program == Program::FromGuest;
  if (arrival.program == Program::FromUplink) {
    // What it does not understand is nobody's. It drops one thing: what may be a piece of a datagram, from an address
    // that is another's than the sender's here.
    opinion.reason = GRANTD_REASON_ESTABLISHED;
    const unsigned type = ethertype(arrival.frame);
    const auto hold = [&](std::size_t at, Family family, bool piece) {
      const IpAddress source = address_at(arrival.frame, at, family);
      opinion.stamp = meaning_.sender(source, arrival.ifindex);
      const Who owner = meaning_.owner(source);
      if (meaning_.is_uplink(arrival.ifindex) && piece && !owner.empty() && owner != opinion.stamp)
        opinion.reason = GRANTD_REASON_NOBODY;
    };
    if (type == 0x0800 && arrival.frame.size() >= 30)
      hold(26, Family::IPv4, ((arrival.frame[20] << 8 | arrival.frame[21]) & 0x3fff) != 0);
    if (type == 0x86dd && arrival.frame.size() >= 38) {
      static const std::set<unsigned> kBeforeFragments = {0, 43, 44, 51, 60};
      hold(22, Family::IPv6, kBeforeFragments.contains(arrival.frame[20]));
    }
    return opinion;
  }
  one.guest = meaning_.guest_at(arrival.ifindex);
  if (!one.guest) {
    opinion.reason = GRANTD_REASON_NO_ENDPOINT;
    return opinion;
  }
  one.grant = meaning_.grant_of(*one.guest);
  one.endpoint_id = endpoint_ids_.at(arrival.ifindex);
  if (one.grant) opinion.grant = one.grant->key();
  // A stamp says who it is wherever it came from; without one, what a socket of this host sent is the node's own.
  // (Every frame of BPF_PROG_TEST_RUN has a socket: decision 0047's other half is for real traffic to show.)
  one.from = !arrival.stamped.empty()                                 ? arrival.stamped
             : arrival.from_outside || arrival.neighbour_ifindex != 0 ? ""
                                                                      : kLocalNode;
  opinion.reason = decide(one, opinion);
  opinion.charged = opinion.reason != GRANTD_REASON_FELL_THROUGH && opinion.reason < GRANTD_REASON_FIRST_DROP;
  if (one.egress && opinion.charged) opinion.stamp = one.grant->key();
  return opinion;
}

Reason Model::decide(Case& one, Opinion& opinion) {
  const Bytes& frame = one.arrival.frame;
  if (has_vlan_tag(frame)) return GRANTD_REASON_VLAN_TAG;
  if (one.egress)
    for (std::size_t i = 0; i < 6; i++)
      if (frame.at(6 + i) != one.guest->mac->bytes[i]) return GRANTD_REASON_SOURCE_MAC;
  if (ethertype(frame) == 0x0806) {
    if (const auto why = in_force(one)) return *why;
    return arp(one);
  }
  if (const auto why = read_ip(frame, one.packet)) return *why;
  if (!one.packet.later_fragment())
    if (const auto why = read_l4(frame, one.packet)) return *why;
  // Nobody but a guest with a packet socket makes these.
  if (one.arrival.gso_bytes != 0 && (one.packet.later_fragment() || one.packet.first_fragment()))
    return GRANTD_REASON_MALFORMED;
  // Each segment of a packet that is still to be cut up has headers of its own on the wire.
  if (one.arrival.gso_bytes != 0 && one.packet.protocol != 0) {
    // Of SCTP each segment repeats the common header (RFC 9260 3), and no chunk's.
    const std::size_t headers = one.packet.l4 + (one.packet.protocol == kSctp ? 12 : one.packet.l4_header_bytes);
    const std::size_t payload = frame.size() - headers;
    // The number that the frame comes with may be missing or a lie: the larger one counts.
    const std::uint64_t segments = std::max<std::uint64_t>(
        one.arrival.gso_segments, (payload + one.arrival.gso_bytes - 1) / one.arrival.gso_bytes);
    if (payload > 0 && segments > 1) {
      opinion.packets = segments;
      opinion.bytes += (segments - 1) * headers;
    }
  }
  if (const auto why = own_address(one)) return *why;
  if (const auto why = in_force(one)) return *why;
  const Packet& packet = one.packet;
  if (packet.icmp == IcmpKind::Neighbour) return neighbour(one);
  if (const auto why = group_frame(one)) return *why;
  if (packet.later_fragment()) return later_fragment(one);
  switch (packet.icmp) {
    case IcmpKind::Redirect:
      return GRANTD_REASON_ICMP_REDIRECT;
    case IcmpKind::Other:
      return GRANTD_REASON_ICMP_TYPE;
    case IcmpKind::Error:
      return icmp_error(one);
    default:
      return flow(one);
  }
}

}  // namespace grantd::model
