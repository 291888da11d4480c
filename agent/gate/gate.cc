#include "agent/gate/gate.h"

#include "agent/gate/nftables_batch.h"
#include "maps/pin_root.h"

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

constexpr int kTries = 10;
constexpr std::uint8_t kFamilies[] = {NFPROTO_INET, NFPROTO_BRIDGE, NFPROTO_ARP};

GateElement element_of(GateSetIndex set, const GatedInterface& interface) {
  std::string key(gate_set(set).key_bytes, '\0');
  std::memcpy(key.data(), &interface.ifindex, sizeof(interface.ifindex));
  interface.name.copy(key.data() + sizeof(interface.ifindex), IFNAMSIZ - 1);
  return {set, std::move(key)};
}

GatedInterface interface_of(const GateElement& element) {
  GatedInterface interface;
  std::memcpy(&interface.ifindex, element.key.data(), sizeof(interface.ifindex));
  const char* const name = element.key.data() + sizeof(interface.ifindex);
  interface.name.assign(name, strnlen(name, IFNAMSIZ));
  return interface;
}

GateElement element_of(const IpAddress& address) {
  const GateSetIndex set = address.family == Family::IPv4 ? kGuestAddresses4 : kGuestAddresses6;
  return {set, std::string(address.bytes.begin(), address.bytes.begin() + gate_set(set).key_bytes)};
}

IpAddress address_of(const GateElement& element) {
  IpAddress address;
  address.family = element.set == kGuestAddresses4 ? Family::IPv4 : Family::IPv6;
  std::copy(element.key.begin(), element.key.end(), address.bytes.begin());
  return address;
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

std::vector<GateElement> only_in(const std::set<GateElement>& one, const std::set<GateElement>& other) {
  std::vector<GateElement> only;
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

Gate::Gate(const std::string& pin_root, std::uint32_t stamp_mask)
    : table_(table_of(pin_root)), families_{Family(kFamilies[0]), Family(kFamilies[1]), Family(kFamilies[2])} {
  if (auto stamp = stamp_settings(stamp_mask)) stamp_ = stamp.value();  // with another one no datapath is loaded
}

bool Gate::may_pass(const Error& error) {
  // That there is nothing by that name may be since somebody took it away just now.
  return error.error_number == ENOENT ||
         (!is_not_there(error) && error.error_number != EINVAL && error.error_number != EPERM);
}

Gate::Elements Gate::elements_of(const Gated& gated, std::uint8_t family) {
  Elements all;
  for (const GatedInterface& each : gated.guests) all.insert(element_of(kGuestInterfaces, each));
  if (family != NFPROTO_INET) return all;
  for (const GatedInterface& each : gated.uplinks) all.insert(element_of(kUplinkInterfaces, each));
  for (const IpAddress& each : gated.addresses) all.insert(element_of(each));
  return all;
}

Result<void> Gate::keep(const Gated& gated, bool look) {
  if (!look && gated == gated_ && std::ranges::all_of(families_, &Family::known)) return {};
  gated_ = gated;  // from here on each family that is known has it
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) {
    for (Family& family : families_) doubt(family, elements_of(gated, family.number), socket.error());
    return socket.error();
  }
  const std::uint64_t before = mended_;
  Result<void> first;
  for (Family& family : families_)
    if (auto kept = keep_family(socket.value().get(), family, elements_of(gated, family.number), look);
        !kept && (first || (may_pass(kept.error()) && !may_pass(first.error()))))
      first = kept;
  mended_ = std::min(mended_, before + 1);  // one time, in however many families
  return first;
}

// What is as it should be is left alone: each change wakes whoever watches, us too.
Result<void> Gate::keep_family(nl_sock* socket, Family& family, const Elements& wanted, bool look) {
  bool anew = false;
  if (look || !family.known) {
    auto standing = read_undisturbed(socket, family.number);
    if (!standing) {
      doubt(family, wanted, standing.error());
      return standing.error();
    }
    count(family, standing.value().packets);
    if (family.put && (!standing.value().whole || standing.value().elements != family.behind)) mended_++;
    anew = !standing.value().whole;
    family.behind = std::move(standing.value().elements);
  }
  NftablesBatch batch;
  if (anew) {
    add_gate_table(batch, table_, family.number, stamp_, {wanted.begin(), wanted.end()});
    family.counters.clear();
  } else {
    add_gate_elements(batch, NFT_MSG_NEWSETELEM, table_, family.number, only_in(wanted, family.behind));
    add_gate_elements(batch, NFT_MSG_DELSETELEM, table_, family.number, only_in(family.behind, wanted));
  }
  if (!batch.empty()) {
    family.known = family.stands = false;
    if (auto sent = batch.send(socket); !sent) return sent;
  }
  family.known = family.put = family.stands = true;
  family.behind = wanted;
  return {};
}

void Gate::doubt(Family& family, const Elements& wanted, const Error& error) {
  family.known = false;
  family.stands = family.stands && may_pass(error) && std::ranges::includes(family.behind, wanted);
}

bool Gate::stands() const { return std::ranges::all_of(families_, &Family::stands); }

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

Result<std::optional<Gated>> Gate::standing() const {
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) return socket.error();
  std::optional<Elements> all;
  for (const Family& family : families_) {
    auto found = read_undisturbed(socket.value().get(), family.number);
    if (!found) return found.error();
    if (!found.value().whole) return std::optional<Gated>();
    Elements& elements = found.value().elements;
    // A guest that is missing in one is behind none; uplinks and addresses the first one alone has.
    if (all)
      std::erase_if(*all,
                    [&](const GateElement& each) { return each.set == kGuestInterfaces && !elements.contains(each); });
    else
      all = std::move(elements);
  }
  Gated gated;
  for (const GateElement& each : *all)
    if (each.set == kGuestInterfaces)
      gated.guests.insert(interface_of(each));
    else if (each.set == kUplinkInterfaces)
      gated.uplinks.insert(interface_of(each));
    else
      gated.addresses.insert(address_of(each));
  return std::optional(std::move(gated));
}

Result<Gate::Standing> Gate::read_undisturbed(nl_sock* socket, std::uint8_t family) const {
  auto found = read(socket, family);
  for (int tries = 1; !found && found.error().error_number == EINTR && tries < kTries; tries++)
    found = read(socket, family);
  return found;
}

Result<Gate::Standing> Gate::read(nl_sock* socket, std::uint8_t family) const {
  bool table = false;
  std::vector<GateRuleName> rules;
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
        if (!parse_nftables(answer, NFT_MSG_NEWRULE, found) || attribute_text(found[NFTA_RULE_TABLE]) != table_) return;
        nlattr* said = found[NFTA_RULE_USERDATA];
        rules.push_back(
            {std::string(attribute_text(found[NFTA_RULE_CHAIN])),
             said ? std::string(static_cast<const char*>(nla_data(said)), static_cast<std::size_t>(nla_len(said)))
                  : std::string()});
      });
  if (!asked) return asked.error();
  // One before ours might accept.
  Standing standing;
  standing.whole = table && rules == gate_rules(family, stamp_);
  if (!table) return standing;
  for (const GateSetIndex set : gate_sets(family))
    if (auto done = read_set(socket, family, set, standing); !done) return done.error();
  return standing;
}

Result<void> Gate::read_set(nl_sock* socket, std::uint8_t family, GateSetIndex set, Standing& standing) const {
  return ask(
      socket, NFT_MSG_GETSETELEM, family, NLM_F_DUMP,
      [&](nl_msg* message) {
        put_text(message, NFTA_SET_ELEM_LIST_TABLE, table_);
        put_text(message, NFTA_SET_ELEM_LIST_SET, gate_set(set).name);
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
              !key[NFTA_DATA_VALUE] || nla_len(key[NFTA_DATA_VALUE]) != static_cast<int>(gate_set(set).key_bytes))
            continue;
          const GateElement one{
              set, std::string(static_cast<const char*>(nla_data(key[NFTA_DATA_VALUE])), gate_set(set).key_bytes)};
          standing.elements.insert(one);
          if (gate_set(set).counts) standing.packets[one] = packets_of(element[NFTA_SET_ELEM_EXPR]);
        }
      });
}

// Counters begin anew where somebody has made the table anew.
void Gate::count(Family& family, const Counts& packets) {
  for (const auto& [element, now] : packets) {
    const std::uint64_t before = family.counters[element];
    if (now != before) dropped_[element] += now > before ? now - before : now;
  }
  family.counters = packets;
}

GateDrops Gate::by_subject(const Counts& packets) {
  GateDrops drops;
  for (const auto& [element, count] : packets)
    if (count == 0)
      continue;
    else if (element.set == kGuestInterfaces)
      drops.unjudged[interface_of(element)] += count;
    else
      drops.forged[address_of(element)] += count;
  return drops;
}

Result<GateDrops> Gate::read_dropped() const {
  // EINVAL where nfnetlink is there and nf_tables is not.
  const auto is_none = [](const Error& error) { return is_not_there(error) || error.error_number == EINVAL; };
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) return is_none(socket.error()) ? Result<GateDrops>(GateDrops{}) : socket.error();
  Counts all;
  for (const Family& family : families_) {
    auto found = read_undisturbed(socket.value().get(), family.number);
    if (!found && !is_none(found.error())) return found.error();
    if (found)
      for (const auto& [element, count] : found.value().packets) all[element] += count;
  }
  return by_subject(all);
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
