// ARP and neighbour discovery: a guest speaks for itself, about its own link, and nobody speaks for it (rule 2,
// decisions 0001 and 0017).
#include "tests/model/case.h"

#include <algorithm>

namespace grantd::model {
namespace {

bool contains(const std::vector<IpAddress>& all, const IpAddress& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

constexpr unsigned kRouterSolicitation = 133, kRouterAdvertisement = 134, kSolicitation = 135, kAdvertisement = 136;

// Bytes of the message before its options.
std::size_t fixed_bytes(unsigned type) {
  return type == kRouterSolicitation ? 8 : type == kRouterAdvertisement ? 16 : 24;
}

// The groups that a message of this kind goes to, if to one: all routers, all nodes, or the target's own
// (RFC 4861 4.1, 4.3 and 4.4; RFC 9131 6.1.2; RFC 4291 2.7.1).
std::vector<IpAddress> groups_of(unsigned type, const IpAddress& target) {
  IpAddress nodes{Family::IPv6, {0xff, 2}}, routers = nodes, own = nodes;
  nodes.bytes[15] = 1;
  routers.bytes[15] = 2;
  own.bytes[11] = 1;
  own.bytes[12] = 0xff;
  std::copy(target.bytes.begin() + 13, target.bytes.end(), own.bytes.begin() + 13);
  if (type == kRouterSolicitation) return {routers};
  return type == kSolicitation ? std::vector{own} : std::vector{nodes, routers};
}

bool is_group(const Bytes& frame) { return (frame[0] & 1) != 0; }
bool is_broadcast(const Bytes& frame) {
  return std::all_of(frame.begin(), frame.begin() + 6, [](std::uint8_t byte) { return byte == 0xff; });
}

// What a bridge floods because it does not know whose it is.
bool is_for_anothers_link(const Workload& guest, const Bytes& frame) {
  return !is_group(frame) && !std::equal(frame.begin(), frame.begin() + 6, guest.mac->bytes.begin());
}

// Of what a neighbour could read, nothing that the message does not need: a flow label, what is reserved (all but the
// three flags of an advertisement), a group's link address that is not the IPv6 group's (RFC 2464 7).
bool says_more(const Packet& packet, const Bytes& frame) {
  // What asks for a router reaches no guest, and a process that sends it gets a label from its kernel.
  if (packet.icmp_type != kRouterSolicitation &&
      (byte_at(frame, kEthernetBytes + 1) % 16 != 0 || two_bytes(frame, kEthernetBytes + 2) != 0))
    return true;
  const unsigned flags = packet.icmp_type == kAdvertisement ? 0xe0 : 0;
  if ((byte_at(frame, packet.l4 + 4) & ~flags) != 0 || byte_at(frame, packet.l4 + 5) != 0 ||
      two_bytes(frame, packet.l4 + 6) != 0)
    return true;
  if (!is_group(frame)) return false;
  Bytes link = {0x33, 0x33};
  link.insert(link.end(), packet.destination.bytes.begin() + 12, packet.destination.bytes.end());
  return !std::equal(link.begin(), link.end(), frame.begin());
}

}  // namespace

// An interface whose Workload is gone is a guest's that has no Grant.
bool Model::is_of_another_grant(const Case& one) const {
  if (!endpoint_ids_.contains(one.arrival.neighbour_ifindex)) return false;
  const Workload* sender = meaning_.guest_at(one.arrival.neighbour_ifindex);
  return sender == nullptr || meaning_.grant_of(*sender) != one.grant;
}

Reason Model::arp(const Case& one) const {
  const Bytes& frame = one.arrival.frame;
  const std::size_t at = kEthernetBytes;
  if (frame.size() < at + 28) return GRANTD_REASON_TOO_SHORT;
  const unsigned operation = two_bytes(frame, at + 6);
  if (two_bytes(frame, at) != 1 || two_bytes(frame, at + 2) != 0x0800 || byte_at(frame, at + 4) != 6 ||
      byte_at(frame, at + 5) != 4 || (operation != 1 && operation != 2))
    return GRANTD_REASON_MALFORMED;
  if (frame.size() > 64) return GRANTD_REASON_MALFORMED;  // padded to the shortest frame, and no further
  for (std::size_t i = 0; i < 6; i++)                     // the sender in the message is the sender of the frame
    if (frame.at(at + 8 + i) != frame.at(6 + i)) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  const IpAddress sender = address_at(frame, at + 14, Family::IPv4), target = address_at(frame, at + 24, Family::IPv4);
  const bool unset = sender.bytes == IpAddress{}.bytes;
  if (one.egress) {
    const bool probe = unset && operation == 1 && Meaning::owns(*one.guest, target);
    if (!probe && (unset || !Meaning::owns(*one.guest, sender))) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
    // Nothing that a neighbour could read: no bytes behind it, and of target MACs only those that mean something.
    for (std::size_t i = at + 28; i < frame.size(); i++)
      if (frame[i] != 0) return GRANTD_REASON_MALFORMED;
    const auto mac = [&](std::size_t begin) { return Bytes(&frame[begin], &frame[begin] + 6); };
    const Bytes asked = mac(at + 18);
    const bool means = asked == Bytes(6, 0) || asked == Bytes(6, 0xff) || asked == mac(0) || asked == mac(6);
    return means && (!is_group(frame) || is_broadcast(frame)) ? GRANTD_REASON_HOUSEKEEPING : GRANTD_REASON_MALFORMED;
  }
  if (Meaning::owns(*one.guest, sender)) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  const bool chatter = is_for_anothers_link(*one.guest, frame) || is_of_another_grant(one);
  return Meaning::owns(*one.guest, target) && !chatter ? GRANTD_REASON_HOUSEKEEPING : GRANTD_REASON_LINK_CHATTER;
}

Reason Model::neighbour(const Case& one) const {
  const Packet& packet = one.packet;
  // RFC 4861 6.1 and 7.1; no fragments (RFC 6980), and nothing between IPv6 and the message.
  if (packet.hop_limit != 255 || packet.icmp_code != 0 || packet.first_fragment() || packet.l4 != kEthernetBytes + 40)
    return GRANTD_REASON_MALFORMED;
  if (packet.end - packet.l4 < fixed_bytes(packet.icmp_type)) return GRANTD_REASON_TOO_SHORT;
  // Nothing behind it that a neighbour could read.
  if (one.egress && packet.end != one.arrival.frame.size()) return GRANTD_REASON_MALFORMED;
  const auto why = one.egress ? neighbour_from_guest(one) : neighbour_to_guest(one);
  return why ? *why : GRANTD_REASON_HOUSEKEEPING;
}

MaybeReason Model::neighbour_from_guest(const Case& one) const {
  const Packet& packet = one.packet;
  const Bytes& frame = one.arrival.frame;
  const IpAddress unset{Family::IPv6, {}};
  const bool from_self = Meaning::owns(*one.guest, packet.source) || packet.source == Meaning::link_local(*one.guest);
  const auto own = [&](const IpAddress& address) {
    return Meaning::owns(*one.guest, address) || address == Meaning::link_local(*one.guest);
  };
  const unsigned type = packet.icmp_type;
  if (type == kRouterAdvertisement) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  const bool nowhere = packet.source == unset;
  if (!from_self && !(nowhere && type != kAdvertisement)) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  const IpAddress target = type == kRouterSolicitation ? unset : address_at(frame, packet.l4 + 8, Family::IPv6);
  if (type != kRouterSolicitation) {
    if (nowhere && !own(target)) return GRANTD_REASON_NEIGHBOUR_SPOOFING;  // DAD for another
    if (type == kAdvertisement && !own(target)) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  }
  // It stays on the link, and in its group.
  const IpAddress& to = packet.destination;
  const bool on_link = to.bytes[0] == 0xff
                           ? contains(groups_of(type, target), to)
                           : !nowhere && (to.is_link_local() || contains(meaning_.gateways(*one.guest), to) ||
                                          (!impossible_peer(one) && !meaning_.may_send(*one.grant, to, kIcmp, 0)));
  if (!on_link) return GRANTD_REASON_DESTINATION;
  if (says_more(packet, frame)) return GRANTD_REASON_MALFORMED;
  // Options: at most three, its own link address; with a question about its own address a nonce.
  const std::size_t options = packet.l4 + fixed_bytes(type);
  if ((packet.end - options) % 8 != 0 || packet.end - options > 3 * 8) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  for (std::size_t at = options; at < packet.end; at += 8) {
    const unsigned option = byte_at(frame, at), length = byte_at(frame, at + 1);
    if (length != 1 || (option != 1 && option != 2 && !(option == 14 && nowhere)))
      return GRANTD_REASON_NEIGHBOUR_SPOOFING;
    for (std::size_t i = 0; i < 6 && option != 14; i++)
      if (frame.at(at + 2 + i) != one.guest->mac->bytes[i]) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  }
  return {};
}

MaybeReason Model::neighbour_to_guest(const Case& one) const {
  const Packet& packet = one.packet;
  const Bytes& frame = one.arrival.frame;
  const auto own = [&](const IpAddress& address) {
    return Meaning::owns(*one.guest, address) || address == Meaning::link_local(*one.guest);
  };
  if (own(packet.source)) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
  if (is_for_anothers_link(*one.guest, frame) || is_of_another_grant(one)) return GRANTD_REASON_LINK_CHATTER;
  switch (packet.icmp_type) {
    case kRouterSolicitation:
      return GRANTD_REASON_LINK_CHATTER;
    case kRouterAdvertisement:
      return packet.source.is_link_local() && contains(meaning_.gateways(*one.guest), packet.source)
                 ? MaybeReason()
                 : GRANTD_REASON_NEIGHBOUR_SPOOFING;
    default:
      break;
  }
  const IpAddress target = address_at(frame, packet.l4 + 8, Family::IPv6);
  const bool about_self = own(target);
  if (packet.icmp_type == kAdvertisement) {
    if (about_self) return GRANTD_REASON_NEIGHBOUR_SPOOFING;
    return own(packet.destination) ? MaybeReason() : GRANTD_REASON_LINK_CHATTER;
  }
  const bool for_it = packet.destination == target || contains(groups_of(kSolicitation, target), packet.destination);
  return about_self && for_it ? MaybeReason() : MaybeReason(GRANTD_REASON_LINK_CHATTER);
}

}  // namespace grantd::model
