// What stands in a table of the gate: sets, chains, and a rule in each.
#pragma once

#include "agent/gate/nftables_batch.h"
#include "maps/stamp_settings.h"

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

namespace grantd {

enum GateSetIndex : std::uint8_t { kGuestInterfaces, kUplinkInterfaces, kGuestAddresses4, kGuestAddresses6 };

struct GateSet {
  const char* name;
  std::uint32_t key_type, key_bytes;  // the type as nft(8) numbers it
  char byte_order;                    // of keys, for nft(8): 1 the machine's, 2 the network's
  bool counts;                        // what its elements drop
};
const GateSet& gate_set(GateSetIndex index);

struct GateElement {
  GateSetIndex set{};
  std::string key;  // as a packet's own stands in the registers
  auto operator<=>(const GateElement&) const = default;
};

// Those of the table of this family (NFPROTO_INET, ...).
std::vector<GateSetIndex> gate_sets(std::uint8_t family);

// A rule by its chain and by what is said of it for people, as the kernel keeps that.
struct GateRuleName {
  std::string chain, comment;
  auto operator<=>(const GateRuleName&) const = default;
};
// In the order in which the kernel lists them. Those that ask for the stamp say by which mask.
std::vector<GateRuleName> gate_rules(std::uint8_t family, const StampSettings& stamp);

// In the place of what stands there by this name.
void add_gate_table(NftablesBatch& batch, const std::string& table, std::uint8_t family, const StampSettings& stamp,
                    const std::vector<GateElement>& elements);
// `type`: NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM. Those of one set stand together.
void add_gate_elements(NftablesBatch& batch, int type, const std::string& table, std::uint8_t family,
                       const std::vector<GateElement>& elements);

}  // namespace grantd
