#include "tests/model/frame.h"

namespace grantd::model {

unsigned byte_at(const Bytes& bytes, std::size_t at) { return bytes.at(at); }
unsigned two_bytes(const Bytes& bytes, std::size_t at) { return byte_at(bytes, at) << 8 | byte_at(bytes, at + 1); }

IpAddress address_at(const Bytes& bytes, std::size_t at, Family family) {
  IpAddress address;
  address.family = family;
  for (std::size_t i = 0; i < (family == Family::IPv4 ? 4U : 16U); i++) address.bytes[i] = bytes.at(at + i);
  return address;
}

unsigned ethertype(const Bytes& frame) { return two_bytes(frame, 12); }

bool has_vlan_tag(const Bytes& frame) { return ethertype(frame) == 0x8100 || ethertype(frame) == 0x88a8; }

namespace {

constexpr int kMostExtensionHeaders = 6;  // design, rule 1
constexpr unsigned kNextHopByHop = 0, kNextRouting = 43, kNextFragment = 44, kNextOptions = 60;

bool extension_that_is_refused(unsigned next) {
  // Of IANA's list of extension headers those that are neither walked over nor L4 to us.
  return next == 135 || next == 139 || next == 140;
}

bool v4_mapped(const IpAddress& address) {
  for (std::size_t i = 0; i < 10; i++)
    if (address.bytes[i] != 0) return false;
  return address.bytes[10] == 0xff && address.bytes[11] == 0xff;
}

MaybeReason l4_protocol(unsigned wire, Family family, Packet& packet) {
  const unsigned icmp = family == Family::IPv4 ? 1 : 58;
  if (wire == icmp)
    packet.protocol = kIcmp;
  else if (wire == kTcp || wire == kUdp || wire == kSctp)
    packet.protocol = wire;
  else if (wire == 2 && family == Family::IPv4)
    return GRANTD_REASON_LINK_CHATTER;  // IGMP
  else
    return GRANTD_REASON_PROTOCOL;
  return {};
}

// `unfragmentable`: bytes before the fragment that count towards the largest packet.
MaybeReason fragment_contradicts(const Packet& packet, std::size_t payload, std::size_t unfragmentable) {
  if (!packet.more_fragments && packet.fragment_offset == 0) return {};  // no fragment
  if (payload == 0) return GRANTD_REASON_MALFORMED;
  if (packet.more_fragments && payload % 8 != 0) return GRANTD_REASON_MALFORMED;
  if (packet.fragment_offset + payload + unfragmentable > 65535) return GRANTD_REASON_MALFORMED;
  return {};
}

MaybeReason read_ipv4(const Bytes& frame, Packet& packet) {
  const std::size_t ip = kEthernetBytes;
  if (frame.size() < ip + 20) return GRANTD_REASON_TOO_SHORT;
  const unsigned version = byte_at(frame, ip) >> 4, header = (byte_at(frame, ip) & 15) * 4;
  if (version != 4 || header < 20) return GRANTD_REASON_MALFORMED;
  const unsigned total = two_bytes(frame, ip + 2);
  if (total < header || ip + total > frame.size()) return GRANTD_REASON_MALFORMED;
  packet.wire_protocol = byte_at(frame, ip + 9);
  // IGMP always carries Router Alert.
  if (header > 20) return packet.wire_protocol == 2 ? GRANTD_REASON_LINK_CHATTER : GRANTD_REASON_IPV4_OPTIONS;
  packet.ip_bytes = total;
  packet.end = ip + total;
  packet.l4 = ip + 20;
  packet.source = address_at(frame, ip + 12, Family::IPv4);
  packet.destination = address_at(frame, ip + 16, Family::IPv4);
  packet.hop_limit = byte_at(frame, ip + 8);
  const unsigned flags = two_bytes(frame, ip + 6);
  if (flags & 0x8000) return GRANTD_REASON_MALFORMED;
  packet.more_fragments = flags & 0x2000;
  packet.fragment_offset = (flags & 0x1fff) * 8;
  packet.fragment_id = two_bytes(frame, ip + 4);
  if (const auto why = fragment_contradicts(packet, total - 20, 20)) return why;
  if (packet.later_fragment()) return {};  // it follows the first one, whatever it holds, or drops
  return l4_protocol(packet.wire_protocol, Family::IPv4, packet);
}

MaybeReason read_ipv6(const Bytes& frame, Packet& packet) {
  const std::size_t ip = kEthernetBytes;
  if (frame.size() < ip + 40) return GRANTD_REASON_TOO_SHORT;
  if (byte_at(frame, ip) >> 4 != 6) return GRANTD_REASON_MALFORMED;
  const unsigned payload = two_bytes(frame, ip + 4);
  if (ip + 40 + payload > frame.size()) return GRANTD_REASON_MALFORMED;
  packet.ip_bytes = 40 + payload;
  packet.end = ip + 40 + payload;
  packet.source = address_at(frame, ip + 8, Family::IPv6);
  packet.destination = address_at(frame, ip + 24, Family::IPv6);
  packet.hop_limit = byte_at(frame, ip + 7);
  if (v4_mapped(packet.source) || v4_mapped(packet.destination)) return GRANTD_REASON_MARTIAN;
  return walk_extensions(frame, byte_at(frame, ip + 6), ip + 40, packet);
}

IcmpKind icmp_kind(unsigned type, Family family) {
  if (family == Family::IPv4) {
    if (type == 8) return IcmpKind::EchoRequest;
    if (type == 0) return IcmpKind::EchoReply;
    if (type == 3 || type == 11 || type == 12) return IcmpKind::Error;
    return type == 5 ? IcmpKind::Redirect : IcmpKind::Other;
  }
  if (type == 128) return IcmpKind::EchoRequest;
  if (type == 129) return IcmpKind::EchoReply;
  if (type >= 1 && type <= 4) return IcmpKind::Error;
  if (type >= 133 && type <= 136) return IcmpKind::Neighbour;
  if (type == 137) return IcmpKind::Redirect;
  if (type == 130 || type == 131 || type == 132 || type == 143) return IcmpKind::Chatter;  // MLD
  return IcmpKind::Other;
}

}  // namespace

MaybeReason walk_extensions(const Bytes& frame, unsigned next, std::size_t begin, Packet& packet) {
  std::size_t at = begin;
  std::size_t behind_fragment = 0;  // where the payload of the fragment header begins
  for (int headers = 0;; headers++) {
    if (next == kNextRouting) return GRANTD_REASON_ROUTING_HEADER;
    if (extension_that_is_refused(next)) return GRANTD_REASON_EXTENSION_HEADER;
    if (next != kNextHopByHop && next != kNextOptions && next != kNextFragment) break;
    if (headers == kMostExtensionHeaders) return GRANTD_REASON_EXTENSION_HEADER;
    if (next == kNextHopByHop && headers > 0) return GRANTD_REASON_EXTENSION_HEADER;
    if (at + 8 > packet.end) return packet.first_fragment() ? GRANTD_REASON_FRAGMENT_HEADER : GRANTD_REASON_TOO_SHORT;
    if (next == kNextFragment) {
      if (behind_fragment != 0) return GRANTD_REASON_EXTENSION_HEADER;
      next = packet.wire_protocol = byte_at(frame, at);
      packet.fragment_offset = two_bytes(frame, at + 2) & 0xfff8;
      packet.more_fragments = two_bytes(frame, at + 2) & 1;
      packet.fragment_id = two_bytes(frame, at + 4) << 16 | two_bytes(frame, at + 6);
      // Extension headers before it are part of the whole packet's payload (RFC 8200 4.5).
      const std::size_t unfragmentable = at - begin;
      at += 8;
      behind_fragment = at;
      if (const auto why = fragment_contradicts(packet, packet.end - at, unfragmentable)) return why;
      if (packet.later_fragment()) {
        packet.l4 = at;
        return {};
      }
      continue;
    }
    const std::size_t length = (byte_at(frame, at + 1) + 1) * 8;
    if (at + length > packet.end)
      return packet.first_fragment() ? GRANTD_REASON_FRAGMENT_HEADER : GRANTD_REASON_TOO_SHORT;
    next = byte_at(frame, at);
    at += length;
  }
  packet.l4 = at;
  if (behind_fragment == 0) packet.wire_protocol = next;
  packet.fragment_header_bytes = behind_fragment == 0 ? 0 : at - behind_fragment;
  return l4_protocol(next, Family::IPv6, packet);
}

MaybeReason read_ip(const Bytes& frame, Packet& packet) {
  for (std::size_t i = 0; i < 6; i++) {
    packet.destination_mac[i] = frame.at(i);
    packet.source_mac[i] = frame.at(6 + i);
  }
  if (ethertype(frame) == 0x0800) return read_ipv4(frame, packet);
  if (ethertype(frame) == 0x86dd) return read_ipv6(frame, packet);
  return GRANTD_REASON_ETHERTYPE;
}

MaybeReason read_l4(const Bytes& frame, Packet& packet) {
  const std::size_t there = packet.end - packet.l4;
  const Reason cut = packet.first_fragment() ? GRANTD_REASON_FRAGMENT_HEADER : GRANTD_REASON_TOO_SHORT;
  std::size_t header = 0;
  switch (packet.protocol) {
    case kTcp:
      if (there < 20) return cut;
      header = (byte_at(frame, packet.l4 + 12) >> 4) * 4;
      if (header < 20) return GRANTD_REASON_MALFORMED;
      if (there < header) return cut;
      packet.tcp_flags = byte_at(frame, packet.l4 + 13) & 0x3f;
      break;
    case kUdp: {
      header = 8;
      if (there < header) return cut;
      const unsigned length = two_bytes(frame, packet.l4 + 4);
      // Of a fragmented datagram the length speaks of the whole.
      if (length < 8 || (!packet.first_fragment() && length > there)) return GRANTD_REASON_MALFORMED;
      break;
    }
    case kSctp:
      header = 16;  // the common header and that of the first chunk, which says what the packet is
      if (there < header) return cut;
      packet.sctp_init = byte_at(frame, packet.l4 + 12) == 1;
      break;
    case kIcmp:
      header = 8;
      if (there < header) return cut;
      packet.icmp_type = byte_at(frame, packet.l4);
      packet.icmp_code = byte_at(frame, packet.l4 + 1);
      packet.icmp = icmp_kind(packet.icmp_type, packet.source.family);
      if (packet.icmp == IcmpKind::EchoRequest || packet.icmp == IcmpKind::EchoReply)
        packet.source_port = packet.destination_port = two_bytes(frame, packet.l4 + 4);
      break;
    default:
      return {};
  }
  if (packet.protocol != kIcmp) {
    packet.source_port = two_bytes(frame, packet.l4);
    packet.destination_port = two_bytes(frame, packet.l4 + 2);
  }
  packet.l4_header_bytes = header;
  packet.fragment_header_bytes += header;
  return {};
}

}  // namespace grantd::model
