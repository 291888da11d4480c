#include "agent/gate/gate.h"

#include "agent/gate/nftables_batch.h"
#include "maps/pin_root.h"

#include <arpa/inet.h>
#include <endian.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <functional>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace grantd {

namespace {

constexpr const char *kSet = "guests", *kChain = "unjudged";
// Before fragments are put together, and so before all that is told apart by connections.
constexpr std::int32_t kPriority = -450;
constexpr std::uint8_t kFamilies[] = {NFPROTO_INET, NFPROTO_BRIDGE, NFPROTO_ARP};
constexpr std::uint32_t kHook = 0;                // NF_INET_PRE_ROUTING, NF_BR_PRE_ROUTING, NF_ARP_IN
constexpr std::uint32_t kKeyType = 20 << 6 | 41;  // iface_index . ifname, as nft(8) numbers them
constexpr std::uint32_t kKeyBytes = sizeof(std::uint32_t) + IFNAMSIZ;
constexpr std::size_t kAtOnce = 1000;  // elements of one message
constexpr char kComment[] = "what from_guest has not judged";

// As nft(8) keeps what is for people: a type, a length, the value.
std::string comment() {
  return std::string("\0", 1) + static_cast<char>(sizeof(kComment)) + std::string(kComment, sizeof(kComment));
}

void put_bytes(nl_msg* message, int type, const std::string& bytes) {
  nla_put(message, type, static_cast<int>(bytes.size()), bytes.data());
}

// As a packet's own stand in the registers: numbers in the machine's order of bytes.
void put_value(nl_msg* message, int type, const std::string& bytes) {
  const Nested data(message, type);
  put_bytes(message, NFTA_DATA_VALUE, bytes);
}

std::string key_of(const GatedInterface& interface) {
  std::string key(kKeyBytes, '\0');
  std::memcpy(key.data(), &interface.ifindex, sizeof(interface.ifindex));
  interface.name.copy(key.data() + sizeof(interface.ifindex), IFNAMSIZ - 1);
  return key;
}

std::optional<GatedInterface> interface_of(nlattr* key) {
  if (nla_len(key) != static_cast<int>(kKeyBytes)) return std::nullopt;
  const auto* bytes = static_cast<const char*>(nla_data(key));
  GatedInterface interface;
  std::memcpy(&interface.ifindex, bytes, sizeof(interface.ifindex));
  bytes += sizeof(interface.ifindex);
  interface.name.assign(bytes, strnlen(bytes, IFNAMSIZ));
  return interface;
}

template <typename Fill>
void put_expression(nl_msg* message, const char* name, Fill fill) {
  const Nested element(message, NFTA_LIST_ELEM);
  put_text(message, NFTA_EXPR_NAME, name);
  const Nested data(message, NFTA_EXPR_DATA);
  fill();
}

void put_meta(nl_msg* message, std::uint32_t key, std::uint32_t into) {
  put_expression(message, "meta", [&] {
    put_number(message, NFTA_META_DREG, into);
    put_number(message, NFTA_META_KEY, key);
  });
}

// meta mark 0 iif . iifname @guests drop. In this order: the element counts what is dropped, and what was judged ends
// at once.
void put_rule(nl_msg* message) {
  const Nested expressions(message, NFTA_RULE_EXPRESSIONS);
  put_meta(message, NFT_META_MARK, NFT_REG32_00);
  put_expression(message, "cmp", [&] {
    put_number(message, NFTA_CMP_SREG, NFT_REG32_00);
    put_number(message, NFTA_CMP_OP, NFT_CMP_EQ);
    put_value(message, NFTA_CMP_DATA, std::string(sizeof(std::uint32_t), '\0'));
  });
  put_meta(message, NFT_META_IIF, NFT_REG32_00);
  put_meta(message, NFT_META_IIFNAME, NFT_REG32_01);
  put_expression(message, "lookup", [&] {
    put_text(message, NFTA_LOOKUP_SET, kSet);
    put_number(message, NFTA_LOOKUP_SREG, NFT_REG32_00);
  });
  put_expression(message, "immediate", [&] {
    put_number(message, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    const Nested data(message, NFTA_IMMEDIATE_DATA);
    const Nested verdict(message, NFTA_DATA_VERDICT);
    put_number(message, NFTA_VERDICT_CODE, NF_DROP);
  });
}

void add_elements(NftablesBatch& batch, int type, int flags, const std::string& table, std::uint8_t family,
                  const std::vector<GatedInterface>& interfaces) {
  for (std::size_t begin = 0; begin < interfaces.size(); begin += kAtOnce)
    batch.add(type, family, flags, [&](nl_msg* message) {
      put_text(message, NFTA_SET_ELEM_LIST_TABLE, table);
      put_text(message, NFTA_SET_ELEM_LIST_SET, kSet);
      const Nested elements(message, NFTA_SET_ELEM_LIST_ELEMENTS);
      for (std::size_t at = begin; at < std::min(begin + kAtOnce, interfaces.size()); at++) {
        const Nested element(message, NFTA_LIST_ELEM);
        put_value(message, NFTA_SET_ELEM_KEY, key_of(interfaces[at]));
      }
    });
}

void add_table(NftablesBatch& batch, const std::string& table, std::uint8_t family,
               const std::vector<GatedInterface>& interfaces) {
  const auto named = [&](nl_msg* message) { put_text(message, NFTA_TABLE_NAME, table); };
  // The first so that there is one to be deleted.
  batch.add(NFT_MSG_NEWTABLE, family, NLM_F_CREATE, named);
  batch.add(NFT_MSG_DELTABLE, family, 0, named);
  batch.add(NFT_MSG_NEWTABLE, family, NLM_F_CREATE, named);
  batch.add(NFT_MSG_NEWSET, family, NLM_F_CREATE, [&](nl_msg* message) {
    put_text(message, NFTA_SET_TABLE, table);
    put_text(message, NFTA_SET_NAME, kSet);
    put_number(message, NFTA_SET_ID, 1);
    put_number(message, NFTA_SET_FLAGS, 0);
    put_number(message, NFTA_SET_KEY_TYPE, kKeyType);
    put_number(message, NFTA_SET_KEY_LEN, kKeyBytes);
    put_bytes(message, NFTA_SET_USERDATA,
              std::string("\0\4\1\0\0\0", 6));  // nft(8): keys are in the machine's order of bytes
    const Nested counter(message, NFTA_SET_EXPR);
    put_text(message, NFTA_EXPR_NAME, "counter");
  });
  add_elements(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, table, family, interfaces);
  batch.add(NFT_MSG_NEWCHAIN, family, NLM_F_CREATE, [&](nl_msg* message) {
    put_text(message, NFTA_CHAIN_TABLE, table);
    put_text(message, NFTA_CHAIN_NAME, kChain);
    put_text(message, NFTA_CHAIN_TYPE, "filter");
    put_number(message, NFTA_CHAIN_POLICY, NF_ACCEPT);
    const Nested hook(message, NFTA_CHAIN_HOOK);
    put_number(message, NFTA_HOOK_HOOKNUM, kHook);
    put_number(message, NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(kPriority));
  });
  batch.add(NFT_MSG_NEWRULE, family, NLM_F_CREATE | NLM_F_APPEND, [&](nl_msg* message) {
    put_text(message, NFTA_RULE_TABLE, table);
    put_text(message, NFTA_RULE_CHAIN, kChain);
    put_rule(message);
    put_bytes(message, NFTA_RULE_USERDATA, comment());
  });
}

// What is not there has no answer.
Result<void> ask(nl_sock* socket, int type, std::uint8_t family, int flags, const std::function<void(nl_msg*)>& fill,
                 const std::function<void(nlmsghdr*)>& take) {
  const NetlinkMessage request = nftables_request(type, family, flags);
  if (!request) return no_netlink_memory();
  fill(request.get());
  auto asked = ask_netlink(socket, request.get(), take);
  if (!asked && asked.error().error_number == ENOENT) return {};
  return asked;
}

std::uint64_t packets_of(nlattr* expression) {
  std::array<nlattr*, NFTA_EXPR_MAX + 1> parts{};
  std::array<nlattr*, NFTA_COUNTER_MAX + 1> counter{};
  if (!expression || nla_parse_nested(parts.data(), NFTA_EXPR_MAX, expression, nullptr) < 0 || !parts[NFTA_EXPR_DATA] ||
      nla_parse_nested(counter.data(), NFTA_COUNTER_MAX, parts[NFTA_EXPR_DATA], nullptr) < 0 ||
      !counter[NFTA_COUNTER_PACKETS])
    return 0;
  return be64toh(nla_get_u64(counter[NFTA_COUNTER_PACKETS]));
}

std::vector<GatedInterface> only_in(const std::set<GatedInterface>& one, const std::set<GatedInterface>& other) {
  std::vector<GatedInterface> only;
  std::set_difference(one.begin(), one.end(), other.begin(), other.end(), std::back_inserter(only));
  return only;
}

// Nor is there a table where the kernel has none of that family.
bool is_not_there(const Error& error) {
  return error.error_number == ENOENT || error.error_number == EOPNOTSUPP || error.error_number == EAFNOSUPPORT ||
         error.error_number == EPROTONOSUPPORT;
}

std::string table_of(const std::string& pin_root) {
  return pin_root == kDefaultPinRoot ? kGateTable : kGateTable + ("-" + digest_of_pin_root(pin_root));
}

}  // namespace

bool is_gate_table(std::string_view name) {
  const std::string_view usual = kGateTable;
  return name == usual || (name.starts_with(usual) && name[usual.size()] == '-');
}

Gate::Gate(const std::string& pin_root)
    : table_(table_of(pin_root)), families_{Family(kFamilies[0]), Family(kFamilies[1]), Family(kFamilies[2])} {}

bool Gate::may_pass(const Error& error) {
  // That there is nothing by that name may be since somebody took it away just now.
  return error.error_number == ENOENT ||
         (!is_not_there(error) && error.error_number != EINVAL && error.error_number != EPERM);
}

Result<void> Gate::keep(const std::set<GatedInterface>& interfaces, bool look) {
  const auto is_kept = [&](const Family& each) { return each.known && interfaces == each.behind; };
  if (!look && std::ranges::all_of(families_, is_kept)) return {};
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) return socket.error();
  const std::uint64_t before = mended_;
  Result<void> first;
  for (Family& family : families_)
    if (auto kept = keep_family(socket.value().get(), family, interfaces, look);
        !kept && (first || (may_pass(kept.error()) && !may_pass(first.error()))))
      first = kept;
  mended_ = std::min(mended_, before + 1);  // one time, in however many families
  return first;
}

// What is as it should be is left alone: each change wakes whoever watches, us too.
Result<void> Gate::keep_family(nl_sock* socket, Family& family, const std::set<GatedInterface>& interfaces, bool look) {
  bool anew = false;
  if (look || !family.known) {
    family.known = false;
    auto standing = read(socket, family.number);
    if (!standing) return standing.error();
    count(family, standing.value().packets);
    if (family.put && (!standing.value().whole || standing.value().interfaces != family.behind)) mended_++;
    anew = !standing.value().whole;
    family.behind = std::move(standing.value().interfaces);
  }
  NftablesBatch batch;
  if (anew) {
    add_table(batch, table_, family.number, {interfaces.begin(), interfaces.end()});
    family.counters.clear();
  } else {
    add_elements(batch, NFT_MSG_NEWSETELEM, NLM_F_CREATE, table_, family.number, only_in(interfaces, family.behind));
    add_elements(batch, NFT_MSG_DELSETELEM, 0, table_, family.number, only_in(family.behind, interfaces));
  }
  if (!batch.empty()) {
    family.known = false;
    if (auto sent = batch.send(socket); !sent) return sent;
  }
  family.known = family.put = true;
  family.behind = interfaces;
  return {};
}

Result<void> Gate::remove() {
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) return is_not_there(socket.error()) ? Result<void>() : socket.error();
  for (const std::uint8_t family : kFamilies) {
    NftablesBatch batch;
    batch.add(NFT_MSG_DELTABLE, family, 0, [&](nl_msg* message) { put_text(message, NFTA_TABLE_NAME, table_); });
    if (auto removed = batch.send(socket.value().get()); !removed && !is_not_there(removed.error())) return removed;
  }
  return {};
}

Result<std::optional<std::set<GatedInterface>>> Gate::standing() const {
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) return socket.error();
  std::optional<std::set<GatedInterface>> all;
  for (const Family& family : families_) {
    auto found = read(socket.value().get(), family.number);
    if (!found) return found.error();
    if (!found.value().whole) return std::optional<std::set<GatedInterface>>();
    std::set<GatedInterface>& interfaces = found.value().interfaces;
    // Who is missing in one is behind none.
    if (all) std::erase_if(*all, [&](const GatedInterface& each) { return !interfaces.contains(each); });
    if (!all) all = std::move(interfaces);
  }
  return all;
}

Result<Gate::Standing> Gate::read(nl_sock* socket, std::uint8_t family) const {
  bool table = false, rule = false;
  std::size_t rules = 0;
  const auto expected = comment();
  auto asked = ask(
      socket, NFT_MSG_GETTABLE, family, 0, [&](nl_msg* message) { put_text(message, NFTA_TABLE_NAME, table_); },
      [&](nlmsghdr* answer) {
        std::array<nlattr*, NFTA_TABLE_MAX + 1> found{};
        if (!parse_nftables(answer, NFT_MSG_NEWTABLE, found)) return;
        table = !found[NFTA_TABLE_FLAGS] || nla_get_u32(found[NFTA_TABLE_FLAGS]) == 0;  // else it may be dormant
      });
  if (!asked) return asked.error();
  asked = ask(
      socket, NFT_MSG_GETRULE, family, NLM_F_DUMP, [&](nl_msg* message) { put_text(message, NFTA_RULE_TABLE, table_); },
      [&](nlmsghdr* answer) {
        std::array<nlattr*, NFTA_RULE_MAX + 1> found{};
        if (!parse_nftables(answer, NFT_MSG_NEWRULE, found) || attribute_text(found[NFTA_RULE_TABLE]) != table_ ||
            attribute_text(found[NFTA_RULE_CHAIN]) != kChain)
          return;
        rules++;
        nlattr* said = found[NFTA_RULE_USERDATA];
        rule = said && nla_len(said) == static_cast<int>(expected.size()) &&
               expected == std::string(static_cast<const char*>(nla_data(said)), expected.size());
      });
  if (!asked) return asked.error();
  // One before ours might accept.
  Standing standing;
  standing.whole = table && rule && rules == 1;
  if (!table) return standing;
  asked = ask(
      socket, NFT_MSG_GETSETELEM, family, NLM_F_DUMP,
      [&](nl_msg* message) {
        put_text(message, NFTA_SET_ELEM_LIST_TABLE, table_);
        put_text(message, NFTA_SET_ELEM_LIST_SET, kSet);
      },
      [&](nlmsghdr* answer) {
        std::array<nlattr*, NFTA_SET_ELEM_LIST_MAX + 1> found{};
        if (!parse_nftables(answer, NFT_MSG_NEWSETELEM, found) || !found[NFTA_SET_ELEM_LIST_ELEMENTS]) return;
        nlattr* each = nullptr;
        int left = 0;
        nla_for_each_nested(each, found[NFTA_SET_ELEM_LIST_ELEMENTS], left) {
          std::array<nlattr*, NFTA_SET_ELEM_MAX + 1> element{};
          std::array<nlattr*, NFTA_DATA_MAX + 1> key{};
          if (nla_parse_nested(element.data(), NFTA_SET_ELEM_MAX, each, nullptr) < 0 || !element[NFTA_SET_ELEM_KEY] ||
              nla_parse_nested(key.data(), NFTA_DATA_MAX, element[NFTA_SET_ELEM_KEY], nullptr) < 0 ||
              !key[NFTA_DATA_VALUE])
            continue;
          const auto interface = interface_of(key[NFTA_DATA_VALUE]);
          if (!interface) continue;
          standing.interfaces.insert(*interface);
          standing.packets[*interface] += packets_of(element[NFTA_SET_ELEM_EXPR]);
        }
      });
  if (!asked) return asked.error();
  return standing;
}

// Counters begin anew where somebody has made the table anew.
void Gate::count(Family& family, const Counts& packets) {
  for (const auto& [interface, now] : packets) {
    const std::uint64_t before = family.counters[interface];
    dropped_[interface] += now >= before ? now - before : now;
  }
  family.counters = packets;
}

Result<GateWatch> GateWatch::open() {
  auto socket = listen_to_netlink(NETLINK_NETFILTER, {NFNLGRP_NFTABLES});
  if (!socket) return socket.error();
  GateWatch watch;
  watch.socket_ = std::move(socket).value();
  return watch;
}

bool GateWatch::drain() {
  bool ours = false;
  const bool lost = drain_netlink(socket_.get(), [&](nlmsghdr* message) {
    if (!nlmsg_valid_hdr(message, sizeof(nfgenmsg))) return;
    // The name of the table is the first attribute of all of these messages.
    ours = ours || is_gate_table(attribute_text(nlmsg_find_attr(message, sizeof(nfgenmsg), NFTA_TABLE_NAME)));
  });
  return ours || lost;
}

}  // namespace grantd
