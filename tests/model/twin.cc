#include "tests/model/twin.h"

#include "tests/model/frame.h"

#include <algorithm>
#include <map>

namespace grantd::model {
namespace {

using prog::operator+;

constexpr std::size_t kLongest = 1100, kLastOffset = 8000;  // the latter in units of 8 bytes
constexpr unsigned kReserved = 0x8000, kMore = 0x2000, kOffset = 0x1fff;

std::optional<std::string> twin_at(const Bytes& packet, std::size_t at) {
  if (std::find(std::begin(kOrdinary), std::end(kOrdinary), packet[at]) == std::end(kOrdinary)) return {};
  return twin_of_address(address_at(packet, at, Family::IPv4).text());
}

std::optional<Bytes> twin_of_packet(const Bytes& packet, bool quoted);

// `only_type`: what the message quotes stays as it is.
std::optional<Bytes> twin_of_icmp(Bytes message, bool only_type) {
  static const std::map<std::uint8_t, std::uint8_t> types = {{8, 128}, {0, 129}, {3, 1}, {11, 3}, {12, 4}};
  if (message.empty()) return message;
  const auto found = types.find(message[0]);
  if (found == types.end()) return {};
  const bool echo = message[0] == 8 || message[0] == 0;
  message[0] = found->second;
  if (echo || only_type || message.size() <= 8) return message;
  const auto about = twin_of_packet(Bytes(message.begin() + 8, message.end()), true);
  if (!about) return {};
  message.resize(8);
  return message + *about;
}

// What is quoted may be cut off.
std::optional<Bytes> twin_of_packet(const Bytes& packet, bool quoted) {
  if (packet.size() < 20 || packet.size() > kLongest || packet[0] != 0x45) return {};
  const unsigned flags = two_bytes(packet, 6), offset = flags & kOffset, protocol = packet[9];
  const bool piece = flags & (kMore | kOffset);
  if (flags & kReserved || offset > kLastOffset) return {};
  if (!quoted && two_bytes(packet, 2) != packet.size()) return {};
  if (protocol != kIcmp && protocol != kTcp && protocol != kUdp && protocol != kSctp) return {};
  const auto source = twin_at(packet, 12), destination = twin_at(packet, 16);
  if (!source || !destination) return {};
  std::optional<Bytes> payload = Bytes(packet.begin() + 20, packet.end());
  // Of a first piece nobody reads what is quoted, and longer it would be no multiple of 8.
  if (protocol == kIcmp && offset == 0) payload = twin_of_icmp(*payload, quoted || piece);
  if (!payload) return {};
  const auto next = static_cast<std::uint8_t>(protocol == kIcmp ? 58 : protocol);
  if (piece)
    payload = prog::ipv6_fragment(next, static_cast<std::uint16_t>(offset << 3 | (flags & kMore ? 1 : 0)),
                                  two_bytes(packet, 4)) +
              *payload;
  return prog::ipv6({*source, *destination, static_cast<std::uint8_t>(piece ? 44 : next), packet[8]}, *payload);
}

}  // namespace

std::string twin_of_address(const std::string& address) {
  const auto bytes = IpAddress::parse(address).value().bytes;
  char text[40];
  std::snprintf(text, sizeof(text), "2600:4::%02x%02x:%02x%02x", bytes[0], bytes[1], bytes[2], bytes[3]);
  return IpAddress::parse(text).value().text();
}

std::string twin_of_prefix(const std::string& prefix) {
  const std::size_t slash = prefix.find('/');
  return twin_of_address(prefix.substr(0, slash)) + "/" + std::to_string(96 + std::stoi(prefix.substr(slash + 1)));
}

std::optional<Bytes> twin_of_frame(const Bytes& frame) {
  if (frame.size() < kEthernetBytes || ethertype(frame) != 0x0800) return {};
  const auto begin = frame.begin() + kEthernetBytes;
  const auto packet = twin_of_packet(Bytes(begin, frame.end()), false);
  if (!packet) return {};
  return Bytes(frame.begin(), begin - 2) + Bytes{0x86, 0xdd} + *packet;
}

}  // namespace grantd::model
