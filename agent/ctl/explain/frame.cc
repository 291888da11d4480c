#include "agent/ctl/explain/frame.h"

#include <algorithm>

namespace grantd {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint16_t kEtherIpv4 = 0x0800, kEtherIpv6 = 0x86dd;
constexpr std::uint8_t kHopLimit = 64, kIcmpv6 = 58, kEchoRequest4 = 8, kEchoRequest6 = 128;
constexpr std::uint8_t kTcpSyn = 0x02, kTcpHeaderWords = 5, kSctpInit = 1;
constexpr std::uint16_t kWindow = 64240;

void put16(Bytes& bytes, std::size_t value) {
  bytes.push_back(static_cast<std::uint8_t>(value >> 8 & 0xff));
  bytes.push_back(static_cast<std::uint8_t>(value & 0xff));
}

void put32(Bytes& bytes, std::size_t value) {
  put16(bytes, value >> 16);
  put16(bytes, value & 0xffff);
}

Bytes transport(const Probe& probe, Family family) {
  Bytes bytes;
  if (probe.protocol == Protocol::Icmp) {
    bytes = {family == Family::IPv4 ? kEchoRequest4 : kEchoRequest6, 0, 0, 0};
    put16(bytes, kProbeSourcePort);
    put16(bytes, 1);  // sequence
    return bytes;
  }
  put16(bytes, kProbeSourcePort);
  put16(bytes, probe.port);
  if (probe.protocol == Protocol::Udp) {
    put16(bytes, 8 + 4);  // length
    put16(bytes, 0);
    put32(bytes, 0);  // four bytes of payload
  } else if (probe.protocol == Protocol::Tcp) {
    put32(bytes, 1);  // sequence
    put32(bytes, 0);
    bytes.push_back(kTcpHeaderWords << 4);
    bytes.push_back(kTcpSyn);
    put16(bytes, kWindow);
    put32(bytes, 0);  // checksum, urgent pointer
  } else {
    put32(bytes, 0);  // verification tag: 0 in an INIT (RFC 9260 8.5.1)
    put32(bytes, 0);  // checksum
    bytes.push_back(kSctpInit);
    bytes.push_back(0);
    put16(bytes, 20);  // length of the chunk
    put32(bytes, 1);   // initiate tag
    put32(bytes, kWindow);
    put16(bytes, 1);  // streams out and in
    put16(bytes, 1);
    put32(bytes, 1);  // sequence
  }
  return bytes;
}

void put_ipv4(Bytes& frame, const FrameEnds& ends, std::uint8_t protocol, std::size_t payload) {
  frame.insert(frame.end(), {0x45, 0});
  put16(frame, 20 + payload);
  put32(frame, 0x4000);  // id 0, don't fragment
  frame.insert(frame.end(), {kHopLimit, protocol, 0, 0});
  frame.insert(frame.end(), ends.source.bytes.begin(), ends.source.bytes.begin() + 4);
  frame.insert(frame.end(), ends.destination.bytes.begin(), ends.destination.bytes.begin() + 4);
}

void put_ipv6(Bytes& frame, const FrameEnds& ends, std::uint8_t next, std::size_t payload) {
  put32(frame, 0x60000000);
  put16(frame, payload);
  frame.insert(frame.end(), {next, kHopLimit});
  frame.insert(frame.end(), ends.source.bytes.begin(), ends.source.bytes.end());
  frame.insert(frame.end(), ends.destination.bytes.begin(), ends.destination.bytes.end());
}

}  // namespace

std::vector<std::uint8_t> first_frame(const FrameEnds& ends, const Probe& probe) {
  const Family family = ends.source.family;
  const Bytes payload = transport(probe, family);
  const auto number = static_cast<std::uint8_t>(probe.protocol);
  Bytes frame(ends.destination_mac.bytes.begin(), ends.destination_mac.bytes.end());
  frame.insert(frame.end(), ends.source_mac.bytes.begin(), ends.source_mac.bytes.end());
  put16(frame, family == Family::IPv4 ? kEtherIpv4 : kEtherIpv6);
  if (family == Family::IPv4)
    put_ipv4(frame, ends, number, payload.size());
  else
    put_ipv6(frame, ends, probe.protocol == Protocol::Icmp ? kIcmpv6 : number, payload.size());
  frame.insert(frame.end(), payload.begin(), payload.end());
  return frame;
}

}  // namespace grantd
