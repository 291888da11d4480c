// From compiled values to the records of maps/abi.
#pragma once

#include "agent/plan/kernel_state.h"
#include "maps/fixed_text.h"

#include <string_view>

namespace grantd {

grantd_limit encode_limit(const CompiledLimit& limit, unsigned cpus);
grantd_ranges encode_ranges(const std::vector<CompiledRange>& ranges, bool protected_range);
grantd_rule_key encode_rule_key(std::uint32_t rules_id, const IpPrefix& prefix);
IpPrefix decode_rule_prefix(const grantd_rule_key& key);
KnownRule known_rule(const grantd_rule_key& key, const grantd_ranges& ranges);
grantd_identity_key encode_prefix_key(const PrefixKey& key);
PrefixKey decode_prefix_key(const grantd_identity_key& key);
// Everything but version, endpoint_id and slot.
grantd_endpoint encode_endpoint(const CompiledEndpoint& endpoint);
// Every field, IPv4 first; unused ones are 0.0.0.0 and ::.
std::vector<IpAddress> decode_addresses(const grantd_endpoint& record);
std::vector<IpAddress> used_addresses(const grantd_endpoint& record);  // without these
MacAddress decode_mac(const grantd_endpoint& record);
grantd_slotname encode_slot_name(const CompiledGrant& grant);
grantd_guest encode_guest(const CompiledEndpoint& endpoint, std::uint32_t slot);
grantd_source encode_source(const CompiledSource& source);
grantd_idname encode_identity_name(const IdentityName& name);
IdentityName decode_identity_name(const grantd_idname& name);

// Digests of rules add up, so that their order does not matter.
std::uint64_t digest_bytes(const void* bytes, std::size_t count, std::uint64_t seed);
std::uint64_t digest_rule(grantd_rule_key key, const grantd_ranges& ranges);
std::uint64_t digest_rule(grantd_idrule_key key, const grantd_ranges& ranges);
std::uint64_t digest_source(std::uint16_t number, const grantd_source& source);

template <typename Record>
bool same_bytes(const Record& one, const Record& other) {
  return __builtin_memcmp(&one, &other, sizeof(Record)) == 0;
}

}  // namespace grantd
