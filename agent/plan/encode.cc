#include "agent/plan/encode.h"

#include <algorithm>
#include <cstring>

namespace grantd {

namespace {

// No name has a blank. That of a Grant leaves room for two bytes.
constexpr std::string_view kWasRealm = " (until it lost an address)", kWasGrant = " -";

// No more of the burst than one in so many is with the CPUs.
constexpr std::uint64_t kBorrowedPart = 16;

// Records are compared as bytes, so their padding is zero. memset, since aggregate initialisation
// promises nothing about padding.
template <typename Record>
Record zeroed() {
  Record record;
  std::memset(static_cast<void*>(&record), 0, sizeof(record));
  return record;
}

std::uint64_t seconds_of(const std::optional<WallTime>& time) {
  if (!time) return 0;
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time->time_since_epoch()).count();
  return seconds > 0 ? static_cast<std::uint64_t>(seconds) : 1;
}

IpPrefix prefix_of(std::uint8_t family, const std::uint8_t (&address)[16], int length) {
  IpPrefix prefix;
  prefix.address.family = family == GRANTD_IPV4 ? Family::IPv4 : Family::IPv6;
  std::copy(std::begin(address), std::end(address), prefix.address.bytes.begin());
  prefix.length = length;
  return prefix;
}

std::uint32_t line_of(const SourcePosition& position) { return static_cast<std::uint32_t>(std::max(position.line, 0)); }

}  // namespace

grantd_limit encode_limit(const CompiledLimit& limit, unsigned cpus) {
  auto record = zeroed<grantd_limit>();
  if (limit.rate_bps == 0) return record;
  using Wide = unsigned __int128;
  const Wide bit_ns = static_cast<Wide>(8) * GRANTD_NS_PER_SECOND;
  record.rate_bps = limit.rate_bps;
  record.burst_bytes = limit.burst_bytes;
  record.cost_per_byte =
      static_cast<std::uint64_t>(((bit_ns << GRANTD_COST_SHIFT) + limit.rate_bps - 1) / limit.rate_bps);
  const std::uint64_t millisecond_bytes = limit.rate_bps / 8 / 1000, borrowers = std::max(cpus, 1U);
  record.quantum_bytes = std::min(std::clamp<std::uint64_t>(millisecond_bytes, 2048, 65536),
                                  limit.burst_bytes / (kBorrowedPart * borrowers));
  // What CPUs have borrowed before may be spent beside all that the bucket holds.
  record.burst_ns =
      static_cast<std::uint64_t>((limit.burst_bytes - borrowers * record.quantum_bytes) * bit_ns / limit.rate_bps);
  return record;
}

grantd_ranges encode_ranges(const std::vector<CompiledRange>& ranges, bool protected_range) {
  auto record = zeroed<grantd_ranges>();
  record.count = static_cast<std::uint16_t>(std::min<std::size_t>(ranges.size(), GRANTD_RANGES_PER_RULE));
  record.protected_range = protected_range ? 1 : 0;
  for (std::size_t index = 0; index < record.count; index++) {
    record.range[index].protocol = static_cast<std::uint8_t>(ranges[index].range.protocol);
    record.range[index].source = ranges[index].source;
    record.range[index].low = ranges[index].range.low;
    record.range[index].high = ranges[index].range.high;
  }
  return record;
}

grantd_rule_key encode_rule_key(std::uint32_t rules_id, const IpPrefix& prefix) {
  auto key = zeroed<grantd_rule_key>();
  key.prefixlen = GRANTD_RULE_KEY_FIXED_BITS + static_cast<std::uint32_t>(prefix.length);
  key.rules_id = rules_id;
  key.direction = GRANTD_EGRESS;
  key.family = static_cast<std::uint8_t>(prefix.address.family);
  std::copy(prefix.address.bytes.begin(), prefix.address.bytes.end(), key.address);
  return key;
}

IpPrefix decode_rule_prefix(const grantd_rule_key& key) {
  return prefix_of(key.family, key.address, static_cast<int>(key.prefixlen) - GRANTD_RULE_KEY_FIXED_BITS);
}

KnownRule known_rule(const grantd_rule_key& key, const grantd_ranges& ranges) {
  return {key, ranges.count > 0, ranges.protected_range != 0};
}

grantd_identity_key encode_prefix_key(const PrefixKey& prefix) {
  auto key = zeroed<grantd_identity_key>();
  key.prefixlen = GRANTD_IDENTITY_KEY_FIXED_BITS + static_cast<std::uint32_t>(prefix.prefix.length);
  key.uplink_class = prefix.uplink_class;
  key.family = static_cast<std::uint8_t>(prefix.prefix.address.family);
  std::copy(prefix.prefix.address.bytes.begin(), prefix.prefix.address.bytes.end(), key.address);
  return key;
}

PrefixKey decode_prefix_key(const grantd_identity_key& key) {
  return {key.uplink_class,
          prefix_of(key.family, key.address, static_cast<int>(key.prefixlen) - GRANTD_IDENTITY_KEY_FIXED_BITS)};
}

grantd_endpoint encode_endpoint(const CompiledEndpoint& endpoint) {
  auto record = zeroed<grantd_endpoint>();
  record.ifindex = endpoint.ifindex;
  record.flags =
      (endpoint.layer3 ? GRANTD_ENDPOINT_LAYER3 : 0U) | (endpoint.host_network ? GRANTD_ENDPOINT_HOST_NETWORK : 0U);
  std::copy(endpoint.mac.bytes.begin(), endpoint.mac.bytes.end(), record.mac);
  std::size_t ipv4 = 0, ipv6 = 0, gateway = 0;
  for (const IpAddress& address : endpoint.addresses) {
    if (address.family == Family::IPv4 && ipv4 < GRANTD_IPV4_PER_ENDPOINT)
      std::memcpy(&record.ipv4[ipv4++], address.bytes.data(), 4);
    if (address.family == Family::IPv6 && ipv6 < GRANTD_IPV6_PER_ENDPOINT) record.ipv6[ipv6++] = address.mapped();
  }
  if (endpoint.link_local.family == Family::IPv6) record.link_local = endpoint.link_local.mapped();
  for (const IpAddress& address : endpoint.gateways)
    if (gateway < GRANTD_GATEWAYS_PER_ENDPOINT) record.gateway[gateway++] = address.mapped();
  return record;
}

std::vector<IpAddress> decode_addresses(const grantd_endpoint& record) {
  std::vector<IpAddress> addresses;
  for (const __u32 ipv4 : record.ipv4) {
    IpAddress& address = addresses.emplace_back(IpAddress{Family::IPv4, {}});
    std::memcpy(address.bytes.data(), &ipv4, sizeof(ipv4));
  }
  for (const grantd_address& ipv6 : record.ipv6) {
    IpAddress& address = addresses.emplace_back(IpAddress{Family::IPv6, {}});
    std::memcpy(address.bytes.data(), ipv6.bytes, sizeof(ipv6.bytes));
  }
  return addresses;
}

std::vector<IpAddress> used_addresses(const grantd_endpoint& record) {
  std::vector<IpAddress> addresses = decode_addresses(record);
  std::erase_if(addresses, [](const IpAddress& each) { return each == IpAddress{each.family, {}}; });
  return addresses;
}

MacAddress decode_mac(const grantd_endpoint& record) {
  MacAddress mac;
  std::copy(std::begin(record.mac), std::end(record.mac), mac.bytes.begin());
  return mac;
}

grantd_slotname encode_slot_name(const CompiledGrant& grant) {
  auto record = zeroed<grantd_slotname>();
  copy_text(record.grant, grant.key);
  copy_text(record.grantor, grant.grantor);
  copy_text(record.grantee, grant.grantee);
  copy_text(record.file, grant.position.file.text());
  record.line = line_of(grant.position);
  record.phase = grant.phase;
  record.valid_from_seconds = seconds_of(grant.valid_from);
  record.valid_until_seconds = seconds_of(grant.valid_until);
  return record;
}

grantd_guest encode_guest(const CompiledEndpoint& endpoint, std::uint32_t slot) {
  auto record = zeroed<grantd_guest>();
  copy_text(record.guest, endpoint.guest);
  copy_text(record.uid, endpoint.uid);
  copy_text(record.interface, endpoint.interface);
  copy_text(record.file, endpoint.position.file.text());
  record.line = line_of(endpoint.position);
  record.ifindex = endpoint.ifindex;
  record.slot = slot;
  copy_text(record.quarantine, endpoint.quarantine);
  return record;
}

grantd_source encode_source(const CompiledSource& source) {
  auto record = zeroed<grantd_source>();
  copy_text(record.text, source.text);
  copy_text(record.file, source.position.file.text());
  record.line = line_of(source.position);
  return record;
}

grantd_idname encode_identity_name(const IdentityName& name) {
  using Kind = IdentityName::Kind;
  auto record = zeroed<grantd_idname>();
  const bool grant = name.kind == Kind::Grant || name.kind == Kind::WasGrant;
  record.kind = grant ? GRANTD_IDENTITY_KIND_GRANT : GRANTD_IDENTITY_KIND_REALM;
  const bool was = name.kind == Kind::WasRealm || name.kind == Kind::WasGrant;
  copy_text(record.name, name.name + std::string(was ? grant ? kWasGrant : kWasRealm : ""));
  return record;
}

IdentityName decode_identity_name(const grantd_idname& record) {
  using Kind = IdentityName::Kind;
  std::string text = text_of(record.name);
  const bool grant = record.kind == GRANTD_IDENTITY_KIND_GRANT;
  const std::string_view suffix = grant ? kWasGrant : kWasRealm;
  if (!text.ends_with(suffix)) return {grant ? Kind::Grant : Kind::Realm, text};
  text.resize(text.size() - suffix.size());
  return {grant ? Kind::WasGrant : Kind::WasRealm, text};
}

std::uint64_t digest_bytes(const void* bytes, std::size_t count, std::uint64_t seed) {
  // FNV-1a by words, folded since it carries upwards only, and the finaliser of splitmix64 so that sums of digests do
  // not cancel.
  std::uint64_t hash = 0xcbf29ce484222325ULL ^ seed;
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (std::size_t done = 0; done < count; done += sizeof(std::uint64_t)) {
    std::uint64_t word = 0;
    std::memcpy(&word, at + done, std::min(sizeof(word), count - done));
    hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;
  }
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9ULL;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebULL;
  return hash ^ (hash >> 31);
}

std::uint64_t digest_rule(grantd_rule_key key, const grantd_ranges& ranges) {
  key.rules_id = 0;
  return digest_bytes(&ranges, sizeof(ranges), digest_bytes(&key, sizeof(key), 1));
}

std::uint64_t digest_rule(grantd_idrule_key key, const grantd_ranges& ranges) {
  key.rules_id = 0;
  return digest_bytes(&ranges, sizeof(ranges), digest_bytes(&key, sizeof(key), 2));
}

std::uint64_t digest_source(std::uint16_t number, const grantd_source& source) {
  return digest_bytes(&source, sizeof(source), number);
}

}  // namespace grantd
