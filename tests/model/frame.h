// What a frame says, read one byte after the other. Written from the design and docs/datapath.md; knows nothing of
// bpf/.
#pragma once

#include "maps/abi/reasons.h"
#include "maps/address.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace grantd::model {

using Bytes = std::vector<std::uint8_t>;
using Reason = grantd_reason;
using MaybeReason = std::optional<Reason>;

inline constexpr unsigned kIcmp = 1, kTcp = 6, kUdp = 17, kSctp = 132;  // of both families: ICMP is one protocol
inline constexpr unsigned kFin = 1, kSyn = 2, kRst = 4, kAck = 16;

enum class IcmpKind { None, EchoRequest, EchoReply, Error, Redirect, Neighbour, Chatter, Other };

// The IP packet of a frame.
struct Packet {
  IpAddress source, destination;
  std::array<std::uint8_t, 6> source_mac{}, destination_mac{};
  unsigned protocol = 0;       // kIcmp, kTcp, kUdp, kSctp; 0 in later fragments
  unsigned wire_protocol = 0;  // IPv4's protocol, or what the IPv6 fragment header says comes next
  unsigned hop_limit = 0;
  std::size_t ip_bytes = 0;  // of the whole IP packet, without padding behind it
  std::size_t l4 = 0;        // where the L4 header begins in the frame
  std::size_t end = 0;       // where the packet ends in the frame

  bool more_fragments = false;
  std::size_t fragment_offset = 0;  // bytes
  std::uint32_t fragment_id = 0;
  std::size_t fragment_header_bytes = 0;  // of a first fragment: what later ones must not touch

  unsigned source_port = 0, destination_port = 0;  // the echo id stands in both
  unsigned tcp_flags = 0;
  unsigned icmp_type = 0, icmp_code = 0;
  IcmpKind icmp = IcmpKind::None;
  bool sctp_init = false;
  std::size_t l4_header_bytes = 0;

  bool later_fragment() const { return fragment_offset != 0; }
  bool first_fragment() const { return fragment_offset == 0 && more_fragments; }
};

unsigned byte_at(const Bytes& bytes, std::size_t at);
unsigned two_bytes(const Bytes& bytes, std::size_t at);
IpAddress address_at(const Bytes& bytes, std::size_t at, Family family);

inline constexpr std::size_t kEthernetBytes = 14;
bool has_vlan_tag(const Bytes& frame);
unsigned ethertype(const Bytes& frame);

// Reads the IP packet behind the Ethernet header. Returns why it is refused, where it is.
MaybeReason read_ip(const Bytes& frame, Packet& packet);

// Walks IPv6's extension headers up to packet.end. The first begins there and is of that number.
MaybeReason walk_extensions(const Bytes& frame, unsigned next, std::size_t begin, Packet& packet);

// Ports, flags, type of the L4 header at packet.l4. Whole packets and first fragments only.
MaybeReason read_l4(const Bytes& frame, Packet& packet);

}  // namespace grantd::model
