#include "tests/bench/frame.h"

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <cstdio>
#include <cstring>

namespace grantd::bench {

namespace {

void put_ethernet(Frame& frame, const FrameFields& fields, std::uint16_t ethertype) {
  std::memcpy(frame.data(), fields.destination_mac.data(), 6);
  std::memcpy(frame.data() + 6, fields.source_mac.data(), 6);
  const std::uint16_t type = htons(ethertype);
  std::memcpy(frame.data() + 12, &type, sizeof type);
}

std::uint16_t ip_checksum(const iphdr& header) {
  std::uint16_t words[sizeof header / 2];
  std::memcpy(words, &header, sizeof header);
  std::uint32_t sum = 0;
  for (const std::uint16_t word : words) sum += word;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<std::uint16_t>(~sum & 0xffff);
}

}  // namespace

Frame udp_frame(const FrameFields& fields) {
  constexpr std::size_t ip_bytes = std::tuple_size_v<Frame> - ETH_HLEN;
  Frame frame{};
  put_ethernet(frame, fields, ETH_P_IP);

  iphdr ip{};
  ip.version = 4;
  ip.ihl = 5;
  ip.tot_len = htons(ip_bytes);
  ip.frag_off = htons(IP_DF);
  ip.ttl = 64;
  ip.protocol = IPPROTO_UDP;
  ip.saddr = fields.source_address;
  ip.daddr = fields.destination_address;
  ip.check = ip_checksum(ip);
  std::memcpy(frame.data() + ETH_HLEN, &ip, sizeof ip);

  udphdr udp{};
  udp.source = htons(fields.source_port);
  udp.dest = htons(fields.destination_port);
  udp.len = htons(static_cast<std::uint16_t>(ip_bytes - sizeof ip));
  std::memcpy(frame.data() + ETH_HLEN + sizeof ip, &udp, sizeof udp);
  return frame;
}

Frame unhandled_frame(const FrameFields& fields) {
  Frame frame{};
  put_ethernet(frame, fields, 0x88b5);
  return frame;
}

Result<std::uint32_t> parse_ipv4(const std::string& text) {
  in_addr address{};
  if (inet_pton(AF_INET, text.c_str(), &address) != 1) return Error{"'" + text + "' is not an IPv4 address", 0};
  return std::uint32_t{address.s_addr};
}

Result<Mac> parse_mac(const std::string& text) {
  unsigned byte[6];
  if (std::sscanf(text.c_str(), "%x:%x:%x:%x:%x:%x", &byte[0], &byte[1], &byte[2], &byte[3], &byte[4], &byte[5]) != 6)
    return Error{"'" + text + "' is not a MAC address", 0};
  Mac mac{};
  for (std::size_t i = 0; i < mac.size(); ++i) mac[i] = static_cast<std::uint8_t>(byte[i]);
  return mac;
}

std::uint32_t address_plus(std::uint32_t address, std::uint32_t offset) { return htonl(ntohl(address) + offset); }

}  // namespace grantd::bench
