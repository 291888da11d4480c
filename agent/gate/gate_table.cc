#include "agent/gate/gate_table.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>

namespace grantd {
namespace {

constexpr std::size_t kAtOnce = 1000;  // elements of one message
// Before fragments are put together, and so before all that is told apart by connections.
constexpr std::int32_t kPriority = -450;
constexpr std::uint32_t kReceived = 0;                // NF_INET_PRE_ROUTING, NF_BR_PRE_ROUTING, NF_ARP_IN
constexpr std::uint32_t kForTheNode = 1;              // NF_INET_LOCAL_IN
constexpr std::uint32_t kSource4 = 12, kSource6 = 8;  // where the header has it

constexpr std::uint32_t kInterface = 20 << 6 | 41;  // iface_index . ifname
constexpr std::uint32_t kInterfaceBytes = sizeof(std::uint32_t) + IFNAMSIZ;
constexpr std::array<GateSet, 4> kSets = {{
    {"guests", kInterface, kInterfaceBytes, 1, true},
    {"uplinks", kInterface, kInterfaceBytes, 1, false},
    {"addresses4", 7, 4, 2, true},
    {"addresses6", 8, 16, 2, true},
}};

struct Rule {
  const char* chain;
  std::uint32_t hook;
  const char* what;
  GateSetIndex counts;  // whose elements count what it drops
  bool asks_for_stamp = false;
};
// Of what has a guest's address neither kind has come from it; both are needed, for what an uplink brings has a stamp.
constexpr std::array<Rule, 5> kRules = {{
    {"unjudged", kReceived, "what from_guest has not judged", kGuestInterfaces},
    {"forged4", kForTheNode, "in the name of a guest of this node", kGuestAddresses4},
    {"forged6", kForTheNode, "in the name of a guest of this node", kGuestAddresses6},
    {"unstamped4", kForTheNode, "in the name of a guest of this node", kGuestAddresses4, true},
    {"unstamped6", kForTheNode, "in the name of a guest of this node", kGuestAddresses6, true},
}};

std::string said_of(const Rule& rule, const StampSettings& stamp) {
  if (!rule.asks_for_stamp) return rule.what;
  std::array<char, 64> by{};
  std::snprintf(by.data(), by.size(), ", not stamped %#x/%#x", stamp.tag, tag_bits(stamp));
  return rule.what + std::string(by.data());
}

// What is for the node comes up from a bridge, and by then is IP.
bool is_of(std::uint8_t family, GateSetIndex set) { return family == NFPROTO_INET || set == kGuestInterfaces; }

// As nft(8) keeps what is for people: a type, a length, the value.
std::string comment(const std::string& text) {
  return std::string("\0", 1) + static_cast<char>(text.size() + 1) + text + std::string("\0", 1);
}

void put_bytes(nl_msg* message, int type, const std::string& bytes) {
  nla_put(message, type, static_cast<int>(bytes.size()), bytes.data());
}

// As a packet's own stand in the registers: numbers in the machine's order of bytes.
void put_value(nl_msg* message, int type, const std::string& bytes) {
  const Nested data(message, type);
  put_bytes(message, NFTA_DATA_VALUE, bytes);
}

template <typename Fill>
void put_expression(nl_msg* message, const char* name, Fill fill) {
  const Nested element(message, NFTA_LIST_ELEM);
  put_text(message, NFTA_EXPR_NAME, name);
  const Nested data(message, NFTA_EXPR_DATA);
  fill();
}

void put_meta(nl_msg* message, std::uint32_t key, std::uint32_t into = NFT_REG32_00) {
  put_expression(message, "meta", [&] {
    put_number(message, NFTA_META_DREG, into);
    put_number(message, NFTA_META_KEY, key);
  });
}

void put_is(nl_msg* message, const std::string& value, std::uint32_t how = NFT_CMP_EQ) {
  put_expression(message, "cmp", [&] {
    put_number(message, NFTA_CMP_SREG, NFT_REG32_00);
    put_number(message, NFTA_CMP_OP, how);
    put_value(message, NFTA_CMP_DATA, value);
  });
}

// As the machine has it in memory.
std::string bytes_of(std::uint32_t number) {
  std::string bytes(sizeof(number), '\0');
  std::memcpy(bytes.data(), &number, sizeof(number));
  return bytes;
}

void put_is_in(nl_msg* message, GateSetIndex set) {
  put_expression(message, "lookup", [&] {
    put_text(message, NFTA_LOOKUP_SET, gate_set(set).name);
    put_number(message, NFTA_LOOKUP_SREG, NFT_REG32_00);
  });
}

void put_came_in_through(nl_msg* message, GateSetIndex set) {
  put_meta(message, NFT_META_IIF);
  put_meta(message, NFT_META_IIFNAME, NFT_REG32_01);
  put_is_in(message, set);
}

// meta mark 0 iif . iifname @guests drop. In this order: what was judged ends at once.
void put_unjudged(nl_msg* message) {
  put_meta(message, NFT_META_MARK);
  put_is(message, bytes_of(0));
  put_came_in_through(message, kGuestInterfaces);
}

// meta mark & 0xff000000 != 0x67000000
void put_not_stamped(nl_msg* message, const StampSettings& stamp) {
  put_meta(message, NFT_META_MARK);
  put_expression(message, "bitwise", [&] {
    put_number(message, NFTA_BITWISE_SREG, NFT_REG32_00);
    put_number(message, NFTA_BITWISE_DREG, NFT_REG32_00);
    put_number(message, NFTA_BITWISE_LEN, sizeof(std::uint32_t));
    put_value(message, NFTA_BITWISE_MASK, bytes_of(tag_bits(stamp)));
    put_value(message, NFTA_BITWISE_XOR, bytes_of(0));
  });
  put_is(message, bytes_of(stamp.tag), NFT_CMP_NEQ);
}

// ip saddr @addresses4
void put_is_in_a_guests_name(nl_msg* message, GateSetIndex set) {
  const bool six = set == kGuestAddresses6;
  put_meta(message, NFT_META_NFPROTO);
  put_is(message, std::string(1, static_cast<char>(six ? NFPROTO_IPV6 : NFPROTO_IPV4)));
  put_expression(message, "payload", [&] {
    put_number(message, NFTA_PAYLOAD_DREG, NFT_REG32_00);
    put_number(message, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
    put_number(message, NFTA_PAYLOAD_OFFSET, six ? kSource6 : kSource4);
    put_number(message, NFTA_PAYLOAD_LEN, gate_set(set).key_bytes);
  });
  put_is_in(message, set);
}

void put_rule(nl_msg* message, const Rule& rule, const StampSettings& stamp) {
  const Nested expressions(message, NFTA_RULE_EXPRESSIONS);
  if (rule.counts == kGuestInterfaces) {
    put_unjudged(message);
  } else {
    if (rule.asks_for_stamp)
      put_not_stamped(message, stamp);
    else
      put_came_in_through(message, kUplinkInterfaces);
    put_is_in_a_guests_name(message, rule.counts);
  }
  put_expression(message, "immediate", [&] {
    put_number(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    const Nested data(message, NFTA_IMMEDIATE_DATA);
    const Nested verdict(message, NFTA_DATA_VERDICT);
    put_number(message, NFTA_VERDICT_CODE, NF_DROP);
  });
}

void add_set(NftablesBatch& batch, const std::string& table, std::uint8_t family, GateSetIndex index) {
  const GateSet& set = gate_set(index);
  batch.add(NFT_MSG_NEWSET, family, NLM_F_CREATE, [&](nl_msg* message) {
    put_text(message, NFTA_SET_TABLE, table);
    put_text(message, NFTA_SET_NAME, set.name);
    put_number(message, NFTA_SET_ID, index + 1U);
    put_number(message, NFTA_SET_FLAGS, 0);
    put_number(message, NFTA_SET_KEY_TYPE, set.key_type);
    put_number(message, NFTA_SET_KEY_LEN, set.key_bytes);
    // A type of nft(8)'s (the order of bytes), a length, the value.
    put_bytes(message, NFTA_SET_USERDATA, std::string("\0\4", 2) + set.byte_order + std::string("\0\0\0", 3));
    if (!set.counts) return;
    const Nested counter(message, NFTA_SET_EXPR);
    put_text(message, NFTA_EXPR_NAME, "counter");
  });
}

void add_rule(NftablesBatch& batch, const std::string& table, std::uint8_t family, const Rule& rule,
              const StampSettings& stamp) {
  batch.add(NFT_MSG_NEWCHAIN, family, NLM_F_CREATE, [&](nl_msg* message) {
    put_text(message, NFTA_CHAIN_TABLE, table);
    put_text(message, NFTA_CHAIN_NAME, rule.chain);
    put_text(message, NFTA_CHAIN_TYPE, "filter");
    put_number(message, NFTA_CHAIN_POLICY, NF_ACCEPT);
    const Nested hook(message, NFTA_CHAIN_HOOK);
    put_number(message, NFTA_HOOK_HOOKNUM, rule.hook);
    put_number(message, NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(kPriority));
  });
  batch.add(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND, [&](nl_msg* message) {
    put_text(message, NFTA_RULE_TABLE, table);
    put_text(message, NFTA_RULE_CHAIN, rule.chain);
    put_rule(message, rule, stamp);
    put_bytes(message, NFTA_RULE_USERDATA, comment(said_of(rule, stamp)));
  });
}

}  // namespace

const GateSet& gate_set(GateSetIndex index) { return kSets[index]; }

std::vector<GateSetIndex> gate_sets(std::uint8_t family) {
  std::vector<GateSetIndex> all;
  for (const GateSetIndex set : {kGuestInterfaces, kUplinkInterfaces, kGuestAddresses4, kGuestAddresses6})
    if (is_of(family, set)) all.push_back(set);
  return all;
}

std::vector<GateRuleName> gate_rules(std::uint8_t family, const StampSettings& stamp) {
  std::vector<GateRuleName> all;
  for (const Rule& rule : kRules)
    if (is_of(family, rule.counts)) all.push_back({rule.chain, comment(said_of(rule, stamp))});
  return all;
}

void add_gate_table(NftablesBatch& batch, const std::string& table, std::uint8_t family, const StampSettings& stamp,
                    const std::vector<GateElement>& elements) {
  const auto named = [&](nl_msg* message) { put_text(message, NFTA_TABLE_NAME, table); };
  // The first so that there is one to be deleted.
  batch.add(NFT_MSG_NEWTABLE, family, NLM_F_CREATE, named);
  batch.add(NFT_MSG_DELTABLE, family, 0, named);
  batch.add(NFT_MSG_NEWTABLE, family, NLM_F_CREATE, named);
  for (const GateSetIndex set : gate_sets(family)) add_set(batch, table, family, set);
  add_gate_elements(batch, NFT_MSG_NEWSETELEM, table, family, elements);
  for (const Rule& rule : kRules)
    if (is_of(family, rule.counts)) add_rule(batch, table, family, rule, stamp);
}

void add_gate_elements(NftablesBatch& batch, int type, const std::string& table, std::uint8_t family,
                       const std::vector<GateElement>& elements) {
  const int flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
  for (auto begin = elements.begin(); begin != elements.end();) {
    const auto most = begin + std::min<std::ptrdiff_t>(kAtOnce, elements.end() - begin);
    const auto end = std::find_if(begin, most, [&](const GateElement& each) { return each.set != begin->set; });
    batch.add(type, family, flags, [&](nl_msg* message) {
      put_text(message, NFTA_SET_ELEM_LIST_TABLE, table);
      put_text(message, NFTA_SET_ELEM_LIST_SET, gate_set(begin->set).name);
      const Nested list(message, NFTA_SET_ELEM_LIST_ELEMENTS);
      for (auto each = begin; each != end; ++each) {
        const Nested element(message, NFTA_LIST_ELEM);
        put_value(message, NFTA_SET_ELEM_KEY, each->key);
      }
    });
    begin = end;
  }
}

}  // namespace grantd
