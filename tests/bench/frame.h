// Frames for the load generator: Ethernet, IPv4 and UDP, of the smallest size that a wire takes.
#pragma once

#include "maps/result.h"

#include <array>
#include <cstdint>
#include <string>

namespace grantd::bench {

using Mac = std::array<std::uint8_t, 6>;
using Frame = std::array<std::uint8_t, 60>;

// Addresses in network byte order, ports in host byte order.
struct FrameFields {
  Mac source_mac{}, destination_mac{};
  std::uint32_t source_address = 0, destination_address = 0;
  std::uint16_t source_port = 0, destination_port = 0;
};

// A UDP datagram without a UDP checksum, which RFC 768 allows: nobody on the way has to reckon one.
Frame udp_frame(const FrameFields& fields);

// An ethertype that nobody handles (IEEE 802 local experimental 1): the kernel receives the frame
// and drops it before any protocol looks at it. What such a frame costs, every frame costs.
Frame unhandled_frame(const FrameFields& fields);

// "a.b.c.d" to network byte order; aa:bb:cc:dd:ee:ff to bytes.
Result<std::uint32_t> parse_ipv4(const std::string& text);
Result<Mac> parse_mac(const std::string& text);

// The address that is `offset` further, network byte order.
std::uint32_t address_plus(std::uint32_t address, std::uint32_t offset);

}  // namespace grantd::bench
