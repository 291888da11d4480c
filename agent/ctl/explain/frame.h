// The first frame of a connection or exchange, as bytes. Pure.
#pragma once

#include "agent/ctl/explain/question.h"

#include <cstdint>
#include <vector>

namespace grantd {

inline constexpr std::uint16_t kProbeSourcePort = 61234;  // the echo id for ICMP

struct FrameEnds {
  MacAddress source_mac, destination_mac;
  IpAddress source, destination;  // of one family
};

// Ethernet, IP, and TCP SYN, UDP datagram, SCTP INIT or ICMP echo request. Checksums are left 0:
// the datapath leaves them to the receiver.
std::vector<std::uint8_t> first_frame(const FrameEnds& ends, const Probe& probe);

}  // namespace grantd
