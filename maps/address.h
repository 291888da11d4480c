// IP addresses, prefixes and MACs as values. Network byte order throughout, as in the ABI.
#pragma once

#include "maps/abi/base.h"
#include "maps/result.h"

#include <array>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

namespace grantd {

enum class Family : std::uint8_t { IPv4 = GRANTD_IPV4, IPv6 = GRANTD_IPV6 };

// An address; IPv4 stands in the first four bytes, the rest is zero.
struct IpAddress {
  Family family = Family::IPv4;
  std::array<std::uint8_t, 16> bytes{};

  // Dotted quad or RFC 4291 text; no zone, no port, no leading zeros in IPv4.
  static Result<IpAddress> parse(std::string_view text);
  std::string text() const;     // RFC 5952 for IPv6
  bool is_link_local() const {  // fe80::/10
    return family == Family::IPv6 && bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80;
  }
  int bits() const { return family == Family::IPv4 ? 32 : 128; }
  // As the ABI keeps it in a 16-byte field: IPv4 as v4-mapped.
  grantd_address mapped() const;
  static IpAddress from_mapped(const grantd_address& address);
  auto operator<=>(const IpAddress&) const = default;
};

// A prefix in canonical form: no bits set beyond its length.
struct IpPrefix {
  IpAddress address;
  int length = 0;

  // ADDRESS or ADDRESS/LENGTH. Host bits beyond the length are an error that names the canonical form.
  static Result<IpPrefix> parse(std::string_view text);
  // Of this length, whatever host bits the address has.
  static IpPrefix around(IpAddress address, int length);
  std::string text() const;  // always with the length
  bool contains(const IpAddress& other) const;
  bool contains(const IpPrefix& other) const;  // the other lies inside this one, or is the same
  bool overlaps(const IpPrefix& other) const { return contains(other) || other.contains(*this); }
  auto operator<=>(const IpPrefix&) const = default;
};

struct MacAddress {
  std::array<std::uint8_t, 6> bytes{};
  static Result<MacAddress> parse(std::string_view text);  // aa:bb:cc:dd:ee:ff
  std::string text() const;
  // The EUI-64 link-local address that a host forms from this MAC (RFC 4862, RFC 2464 4).
  IpAddress link_local() const;
  auto operator<=>(const MacAddress&) const = default;
};

}  // namespace grantd
