// Seals as the programs make them (decision 70), written from what the decision says.
#pragma once

#include "maps/seal_numbers.h"

#include <cstring>

namespace grantd::prog {

inline std::uint64_t word_of(const grantd_address& address, int index) {
  std::uint32_t word = 0;
  std::memcpy(&word, address.bytes + 4 * index, sizeof(word));
  return word;
}

inline std::uint64_t seal_of(const SealNumbers& by, const grantd_flow_key& key, const grantd_flow& flow) {
  constexpr std::uint64_t kHigh = 1ULL << 32U;
  std::uint64_t sum = 0;
  for (int index = 0; index < 4; index++) sum += by[static_cast<std::size_t>(index)] * word_of(key.peer_address, index);
  sum += by[4] * (key.local_port * 0x10000ULL + key.peer_port);
  sum += by[5] * (key.endpoint_id * kHigh + key.protocol * 0x100ULL + key.echo_initiator);
  sum += by[6] * (word_of(key.local_address, 0) * kHigh + word_of(key.local_address, 1));
  sum += by[7] * (word_of(key.local_address, 2) * kHigh + word_of(key.local_address, 3));
  sum += by[8] * flow.policy_id + by[9] * flow.not_after_ns;
  sum += by[10] * (flow.peer_identity * kHigh + flow.realm_epoch);
  const std::uint64_t limited = flow.flags & (GRANTD_FLOW_LIMITED_EGRESS | GRANTD_FLOW_LIMITED_INGRESS);
  return sum + by[11] * (flow.guest_identity * kHigh + flow.initiator * 0x100ULL + limited);
}

inline std::uint64_t seal_of(const SealNumbers& by, const grantd_frag_key& key, const grantd_frag& first) {
  constexpr std::uint64_t kHigh = 1ULL << 32U;
  std::uint64_t sum = 0;
  for (int index = 0; index < 4; index++)
    sum += by[static_cast<std::size_t>(index)] * word_of(key.source, index) +
           by[static_cast<std::size_t>(index) + 4] * word_of(key.destination, index);
  sum += by[8] * key.id + by[9] * (key.endpoint_id * kHigh + key.protocol * 0x100ULL + key.direction);
  sum += by[10] * first.policy_id + by[11] * first.first_seen_ns;
  return sum + by[12] * (first.identity * kHigh + first.header_bytes);
}

}  // namespace grantd::prog
