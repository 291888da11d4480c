#include "maps/address.h"

#include <arpa/inet.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace grantd {
namespace {

constexpr std::array<std::uint8_t, 12> kMappedPrefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// A decimal number of digits alone, without leading zeros, at most `limit`.
std::optional<int> decimal(std::string_view text, int limit) {
  if (text.empty() || text.size() > 3 || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  int value = 0;
  for (const char digit : text) {
    if (digit < '0' || digit > '9') return std::nullopt;
    value = value * 10 + (digit - '0');
  }
  return value <= limit ? std::optional<int>(value) : std::nullopt;
}

bool parse_ipv4(std::string_view text, std::array<std::uint8_t, 16>& bytes) {
  for (std::size_t index = 0; index < 4; ++index) {
    const std::size_t dot = index < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return false;
    const std::optional<int> value = decimal(text.substr(0, dot), 255);
    if (!value) return false;
    bytes[index] = static_cast<std::uint8_t>(*value);
    text.remove_prefix(std::min(dot + 1, text.size()));
  }
  return text.empty();
}

// The bit mask of byte `index` in a prefix of `length` bits.
std::uint8_t mask_of(int length, std::size_t index) {
  const int bits = std::clamp(length - static_cast<int>(index) * 8, 0, 8);
  return static_cast<std::uint8_t>(0xff00u >> bits);
}

// An IPv4-mapped one among them.
Result<IpAddress> parse_any(std::string_view text) {
  IpAddress address;
  if (text.find(':') == std::string_view::npos) {
    if (!parse_ipv4(text, address.bytes)) return Error{"not an IPv4 or IPv6 address"};
    return address;
  }
  address.family = Family::IPv6;
  const std::string copy(text);
  // inet_pton stops at a NUL byte; an address never contains one.
  if (copy.find('\0') != std::string::npos || inet_pton(AF_INET6, copy.c_str(), address.bytes.data()) != 1)
    return Error{"not an IPv4 or IPv6 address"};
  return address;
}

// The ABI keeps IPv4 in this form, so it must not name anything else.
bool is_mapped(const IpAddress& address) {
  return address.family == Family::IPv6 &&
         std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes.begin());
}

}  // namespace

Result<IpAddress> IpAddress::parse(std::string_view text) {
  Result<IpAddress> address = parse_any(text);
  if (address && is_mapped(address.value()))
    return Error{"an IPv4-mapped IPv6 address; write it as " + from_mapped(address.value().mapped()).text()};
  return address;
}

std::string IpAddress::text() const {
  char buffer[INET6_ADDRSTRLEN];
  const int family_number = family == Family::IPv4 ? AF_INET : AF_INET6;
  return inet_ntop(family_number, bytes.data(), buffer, sizeof(buffer));
}

grantd_address IpAddress::mapped() const {
  grantd_address result{};
  if (family == Family::IPv6) {
    std::copy(bytes.begin(), bytes.end(), result.bytes);
  } else {
    std::copy(kMappedPrefix.begin(), kMappedPrefix.end(), result.bytes);
    std::copy_n(bytes.begin(), 4, result.bytes + 12);
  }
  return result;
}

IpAddress IpAddress::from_mapped(const grantd_address& address) {
  IpAddress result;
  if (std::equal(kMappedPrefix.begin(), kMappedPrefix.end(), address.bytes)) {
    std::copy_n(address.bytes + 12, 4, result.bytes.begin());
  } else {
    result.family = Family::IPv6;
    std::copy_n(address.bytes, 16, result.bytes.begin());
  }
  return result;
}

Result<IpPrefix> IpPrefix::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const Result<IpAddress> address =
      slash == std::string_view::npos ? IpAddress::parse(text) : parse_any(text.substr(0, slash));
  if (!address) return address.error();
  IpPrefix prefix{address.value(), address.value().bits()};
  if (slash != std::string_view::npos) {
    const std::optional<int> length = decimal(text.substr(slash + 1), prefix.length);
    if (!length) return Error{"the prefix length is not a number from 0 to " + std::to_string(prefix.length)};
    prefix.length = *length;
  }
  if (is_mapped(prefix.address)) {
    constexpr int kMappedBits = 8 * static_cast<int>(kMappedPrefix.size());
    if (prefix.length < kMappedBits)
      return Error{"an IPv4-mapped IPv6 prefix with others around it; name IPv4 addresses as such"};
    return Error{"an IPv4-mapped IPv6 prefix; write it as " + IpAddress::from_mapped(prefix.address.mapped()).text() +
                 "/" + std::to_string(prefix.length - kMappedBits)};
  }
  const IpPrefix canonical = around(prefix.address, prefix.length);
  if (canonical != prefix)
    return Error{"has host bits beyond /" + std::to_string(prefix.length) + "; the prefix is " + canonical.text()};
  return prefix;
}

IpPrefix IpPrefix::around(IpAddress address, int length) {
  for (std::size_t index = 0; index < address.bytes.size(); ++index)
    address.bytes[index] = static_cast<std::uint8_t>(address.bytes[index] & mask_of(length, index));
  return {address, length};
}

std::string IpPrefix::text() const { return address.text() + "/" + std::to_string(length); }

bool IpPrefix::contains(const IpAddress& other) const {
  if (other.family != address.family) return false;
  for (std::size_t index = 0; index < address.bytes.size(); ++index) {
    const std::uint8_t mask = mask_of(length, index);
    if ((address.bytes[index] & mask) != (other.bytes[index] & mask)) return false;
  }
  return true;
}

bool IpPrefix::contains(const IpPrefix& other) const { return length <= other.length && contains(other.address); }

Result<MacAddress> MacAddress::parse(std::string_view text) {
  MacAddress mac;
  bool good = text.size() == 17;
  for (std::size_t index = 0; good && index < 6; ++index) {
    const char* const begin = text.data() + index * 3;
    const auto [end, error] = std::from_chars(begin, begin + 2, mac.bytes[index], 16);
    good = error == std::errc() && end == begin + 2 && (index == 5 || begin[2] == ':');
  }
  if (!good) return Error{"not a MAC address of the form aa:bb:cc:dd:ee:ff"};
  return mac;
}

std::string MacAddress::text() const {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string result;
  for (const std::uint8_t byte : bytes) {
    if (!result.empty()) result += ':';
    result += kDigits[byte >> 4];
    result += kDigits[byte & 0xf];
  }
  return result;
}

IpAddress MacAddress::link_local() const {
  IpAddress address{Family::IPv6, {0xfe, 0x80}};
  std::copy_n(bytes.begin(), 3, address.bytes.begin() + 8);
  address.bytes[8] ^= 0x02;  // the universal/local bit is inverted in an interface identifier
  address.bytes[11] = 0xff;
  address.bytes[12] = 0xfe;
  std::copy_n(bytes.begin() + 3, 3, address.bytes.begin() + 13);
  return address;
}

}  // namespace grantd
