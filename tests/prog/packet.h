// Frames as bytes, layer by layer, right unless a test spoils them. Checksums are 0: the datapath leaves
// them to the receiver.
#pragma once

#include "maps/address.h"

#include <cstdint>
#include <string>
#include <vector>

namespace grantd::prog {

using Bytes = std::vector<std::uint8_t>;

inline constexpr std::uint8_t kTcp = 6, kUdp = 17, kSctp = 132, kIcmp4 = 1, kIcmp6 = 58;
inline constexpr std::uint8_t kFin = 1, kSyn = 2, kRst = 4, kPsh = 8, kAck = 16, kUrg = 32;
inline constexpr const char* kGuestMac = "02:20:00:00:00:01";
inline constexpr const char* kFarMac = "02:00:00:00:00:09";

Bytes operator+(Bytes one, const Bytes& other);
Bytes zeros(std::size_t count);
Bytes big_endian(std::uint64_t value, std::size_t bytes);
Bytes mac(const std::string& text);
Bytes address(const std::string& text);  // 4 or 16 bytes

Bytes ethernet(const std::string& destination, const std::string& source, std::uint16_t type, const Bytes& payload);

struct Ipv4 {
  std::string source, destination;
  std::uint8_t protocol = kTcp;
  std::uint16_t id = 0;
  std::uint16_t fragment = 0;  // flags and offset, as on the wire
  Bytes options = {};
};
Bytes ipv4(const Ipv4& header, const Bytes& payload);

struct Ipv6 {
  std::string source, destination;
  std::uint8_t next = kTcp;
  std::uint8_t hop_limit = 64;
};
Bytes ipv6(const Ipv6& header, const Bytes& payload);
Bytes extension(std::uint8_t next, std::size_t bytes = 8);  // hop-by-hop, destination options, routing type 0
Bytes ipv6_fragment(std::uint8_t next, std::uint16_t offset_and_more, std::uint32_t id);

Bytes tcp(std::uint16_t source, std::uint16_t destination, std::uint8_t flags, std::size_t payload = 0);
Bytes udp(std::uint16_t source, std::uint16_t destination, std::size_t payload = 0);
Bytes sctp(std::uint16_t source, std::uint16_t destination, std::uint8_t chunk = 1);
Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint16_t id, const Bytes& payload = {});

Bytes arp(std::uint16_t operation, const std::string& sender_mac, const std::string& sender_ip,
          const std::string& target_mac, const std::string& target_ip);
// Neighbour solicitation (135) or advertisement (136), router solicitation (133) or advertisement (134).
Bytes neighbour(std::uint8_t type, const std::string& target, const std::string& option_mac = "");

// The group that it goes to where it goes to one (RFC 4861 4), and the MAC address of an IPv6 group (RFC 2464 7).
std::string neighbour_group(std::uint8_t type, const std::string& target);
std::string group_mac(const std::string& group);

// A whole frame of either family: by the addresses. `l4` is for TCP, UDP and SCTP as given, for ICMP too.
Bytes frame_out(const std::string& source, const std::string& destination, std::uint8_t protocol, const Bytes& l4);
Bytes frame_in(const std::string& source, const std::string& destination, std::uint8_t protocol, const Bytes& l4);

}  // namespace grantd::prog
