#include "tests/prog/packet.h"

#include <cstdio>
#include <stdexcept>

namespace grantd::prog {

namespace {

bool is_ipv6(const std::string& text) { return text.find(':') != std::string::npos; }

Bytes frame(const std::string& to_mac, const std::string& from_mac, const std::string& source,
            const std::string& destination, std::uint8_t protocol, const Bytes& l4) {
  if (is_ipv6(source)) return ethernet(to_mac, from_mac, 0x86dd, ipv6({source, destination, protocol, 64}, l4));
  return ethernet(to_mac, from_mac, 0x0800, ipv4({source, destination, protocol, 0, 0, {}}, l4));
}

}  // namespace

Bytes operator+(Bytes one, const Bytes& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

Bytes zeros(std::size_t count) { return Bytes(count, 0); }

Bytes big_endian(std::uint64_t value, std::size_t bytes) {
  Bytes result;
  for (std::size_t at = bytes; at > 0; at--) result.push_back(static_cast<std::uint8_t>(value >> (8 * (at - 1))));
  return result;
}

Bytes mac(const std::string& text) {
  auto parsed = MacAddress::parse(text);
  if (!parsed) throw std::runtime_error(parsed.error().message);
  return Bytes(parsed.value().bytes.begin(), parsed.value().bytes.end());
}

Bytes address(const std::string& text) {
  // "::ffff:1.2.3.4" and the like are no addresses for the parser, and a packet may carry them all the same.
  if (text.rfind("::ffff:", 0) == 0) return zeros(10) + Bytes{0xff, 0xff} + address(text.substr(7));
  auto parsed = IpAddress::parse(text);
  if (!parsed) throw std::runtime_error(parsed.error().message);
  const auto& bytes = parsed.value().bytes;
  return Bytes(bytes.begin(), bytes.begin() + (parsed.value().family == Family::IPv4 ? 4 : 16));
}

Bytes ethernet(const std::string& destination, const std::string& source, std::uint16_t type, const Bytes& payload) {
  return mac(destination) + mac(source) + big_endian(type, 2) + payload;
}

Bytes ipv4(const Ipv4& header, const Bytes& payload) {
  const std::size_t length = 20 + header.options.size();
  Bytes bytes = {static_cast<std::uint8_t>(0x40 | (length / 4)), 0};
  bytes = bytes + big_endian(length + payload.size(), 2) + big_endian(header.id, 2) + big_endian(header.fragment, 2);
  bytes = bytes + Bytes{64, header.protocol, 0, 0} + address(header.source) + address(header.destination);
  return bytes + header.options + payload;
}

Bytes ipv6(const Ipv6& header, const Bytes& payload) {
  return Bytes{0x60, 0, 0, 0} + big_endian(payload.size(), 2) + Bytes{header.next, header.hop_limit} +
         address(header.source) + address(header.destination) + payload;
}

Bytes extension(std::uint8_t next, std::size_t bytes) {
  Bytes header = zeros(bytes);
  header[0] = next;
  header[1] = static_cast<std::uint8_t>(bytes / 8 - 1);
  return header;
}

Bytes ipv6_fragment(std::uint8_t next, std::uint16_t offset_and_more, std::uint32_t id) {
  return Bytes{next, 0} + big_endian(offset_and_more, 2) + big_endian(id, 4);
}

Bytes tcp(std::uint16_t source, std::uint16_t destination, std::uint8_t flags, std::size_t payload) {
  return big_endian(source, 2) + big_endian(destination, 2) + zeros(8) + Bytes{0x50, flags} + zeros(6) + zeros(payload);
}

Bytes udp(std::uint16_t source, std::uint16_t destination, std::size_t payload) {
  return big_endian(source, 2) + big_endian(destination, 2) + big_endian(8 + payload, 2) + zeros(2) + zeros(payload);
}

Bytes sctp(std::uint16_t source, std::uint16_t destination, std::uint8_t chunk) {
  return big_endian(source, 2) + big_endian(destination, 2) + zeros(8) + Bytes{chunk, 0, 0, 4};
}

Bytes icmp(std::uint8_t type, std::uint8_t code, std::uint16_t id, const Bytes& payload) {
  return Bytes{type, code, 0, 0} + big_endian(id, 2) + zeros(2) + payload;
}

Bytes arp(std::uint16_t operation, const std::string& sender_mac, const std::string& sender_ip,
          const std::string& target_mac, const std::string& target_ip) {
  return Bytes{0, 1, 8, 0, 6, 4} + big_endian(operation, 2) + mac(sender_mac) + address(sender_ip) + mac(target_mac) +
         address(target_ip);
}

Bytes neighbour(std::uint8_t type, const std::string& target, const std::string& option_mac) {
  Bytes bytes = Bytes{type, 0, 0, 0, 0, 0, 0, 0};
  if (type == 135 || type == 136) bytes = bytes + address(target);
  if (type == 134) bytes = bytes + zeros(8);
  if (!option_mac.empty()) bytes = bytes + Bytes{static_cast<std::uint8_t>(type == 136 ? 2 : 1), 1} + mac(option_mac);
  return bytes;
}

std::string neighbour_group(std::uint8_t type, const std::string& target) {
  if (type == 133) return "ff02::2";
  if (type != 135) return "ff02::1";
  const Bytes of = address(target);
  char text[32];
  std::snprintf(text, sizeof(text), "ff02::1:ff%02x:%02x%02x", of.at(13), of.at(14), of.at(15));
  return text;
}

std::string group_mac(const std::string& group) {
  const Bytes of = address(group);
  char text[32];
  std::snprintf(text, sizeof(text), "33:33:%02x:%02x:%02x:%02x", of.at(12), of.at(13), of.at(14), of.at(15));
  return text;
}

Bytes frame_out(const std::string& source, const std::string& destination, std::uint8_t protocol, const Bytes& l4) {
  return frame(kFarMac, kGuestMac, source, destination, protocol, l4);
}

Bytes frame_in(const std::string& source, const std::string& destination, std::uint8_t protocol, const Bytes& l4) {
  return frame(kGuestMac, kFarMac, source, destination, protocol, l4);
}

}  // namespace grantd::prog
