#include "agent/marks/nftables_rule.h"

#include "agent/gate/gate.h"
#include "agent/marks/mark_value.h"
#include "agent/marks/xt_extensions.h"
#include "agent/netlink/nftables.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>

namespace grantd {

namespace {

// Newer than the headers of Debian 12.
constexpr int kBitwiseSecondRegister = 8;
constexpr std::uint32_t kBitwiseAnd = 3, kBitwiseOr = 4, kBitwiseXor = 5;

constexpr int kMostAttributes = 16;  // of an expression

// The attributes of an expression, by number.
class Attributes {
 public:
  explicit Attributes(nlattr* nested) {
    if (!nested) return;
    nlattr* each = nullptr;
    int left = 0;
    nla_for_each_nested(each, nested, left) if (nla_type(each) < kMostAttributes)
        found_[static_cast<std::size_t>(nla_type(each))] = each;
  }
  nlattr* at(int type) const { return found_[static_cast<std::size_t>(type)]; }
  std::optional<std::uint32_t> number(int type) const {
    nlattr* attribute = at(type);
    if (!attribute || nla_len(attribute) != sizeof(std::uint32_t)) return std::nullopt;
    return ntohl(nla_get_u32(attribute));
  }
  std::string_view text(int type) const {
    nlattr* attribute = at(type);
    if (!attribute) return {};
    const auto* characters = static_cast<const char*>(nla_data(attribute));
    return {characters, strnlen(characters, static_cast<std::size_t>(nla_len(attribute)))};
  }
  Bytes bytes(int type) const {
    nlattr* attribute = at(type);
    if (!attribute) return {};
    return {static_cast<const unsigned char*>(nla_data(attribute)), static_cast<std::size_t>(nla_len(attribute))};
  }
  // A value in the byte order of registers, which is the host's for marks.
  std::optional<std::uint32_t> data(int type) const {
    const Bytes bytes = Attributes(at(type)).bytes(NFTA_DATA_VALUE);
    std::uint32_t value = 0;
    if (bytes.size() != sizeof(value)) return std::nullopt;
    std::memcpy(&value, bytes.data(), sizeof(value));
    return value;
  }

 private:
  std::array<nlattr*, kMostAttributes> found_{};
};

// Expressions that write a register with something that is no mark, with the attribute that names it.
struct Load {
  std::string_view name;
  int register_attribute;
};
constexpr Load kLoads[] = {{"payload", NFTA_PAYLOAD_DREG}, {"ct", NFTA_CT_DREG},         {"exthdr", NFTA_EXTHDR_DREG},
                           {"rt", NFTA_RT_DREG},           {"fib", NFTA_FIB_DREG},       {"socket", NFTA_SOCKET_DREG},
                           {"numgen", NFTA_NG_DREG},       {"hash", NFTA_HASH_DREG},     {"osf", NFTA_OSF_DREG},
                           {"xfrm", NFTA_XFRM_DREG},       {"tunnel", NFTA_TUNNEL_DREG}, {"meta", NFTA_META_DREG}};
constexpr std::string_view kNoRegisters[] = {"counter", "log", "limit", "quota",  "connlimit", "last",  "notrack",
                                             "masq",    "nat", "redir", "tproxy", "reject",    "queue", "objref"};

class Rule {
 public:
  Rule(std::string owner, MarkFacts& facts) : owner_(std::move(owner)), facts_(facts) {}

  void follow(std::string_view name, const Attributes& all) {
    if (name == "meta" && all.number(NFTA_META_KEY) == NFT_META_MARK) return meta_mark(all);
    if (name == "ct" && all.at(NFTA_CT_SREG)) return set_connection(all);
    if (name == "immediate") return immediate(all);
    if (name == "bitwise") return bitwise(all);
    if (name == "byteorder")
      return write(all.number(NFTA_BYTEORDER_DREG), anything(read(all.number(NFTA_BYTEORDER_SREG)).depends));
    if (name == "cmp") return compare(all);
    if (name == "range") return test(read(all.number(NFTA_RANGE_SREG)).depends);
    if (name == "lookup") return look_up(all);
    if (name == "match")
      return xt_match_marks(owner_, all.text(NFTA_MATCH_NAME), all.number(NFTA_MATCH_REV).value_or(0),
                            all.bytes(NFTA_MATCH_INFO), facts_);
    if (name == "target")
      return xt_target_marks(owner_, all.text(NFTA_TARGET_NAME), all.number(NFTA_TARGET_REV).value_or(0),
                             all.bytes(NFTA_TARGET_INFO), facts_);
    for (const Load& load : kLoads)
      if (name == load.name) {
        if (all.at(load.register_attribute)) write(all.number(load.register_attribute), anything(), kWordsOfAnAddress);
        return;
      }
    if (std::find(std::begin(kNoRegisters), std::end(kNoRegisters), name) == std::end(kNoRegisters)) registers_ = {};
  }

 private:
  static constexpr std::size_t kWords = 16, kWordsOfAnAddress = 4;

  // Registers of 16 bytes have the numbers 1 to 4, their words have those from NFT_REG32_00.
  static std::optional<std::size_t> word(std::optional<std::uint32_t> number) {
    if (!number) return std::nullopt;
    if (*number >= NFT_REG_1 && *number <= NFT_REG_4) return (*number - NFT_REG_1) * 4;
    if (*number >= NFT_REG32_00 && *number < NFT_REG32_00 + kWords) return *number - NFT_REG32_00;
    return std::nullopt;
  }
  MarkValue read(std::optional<std::uint32_t> number) const {
    const auto at = word(number);
    return at ? registers_[*at].value_or(anything()) : anything();
  }
  void write(std::optional<std::uint32_t> number, const MarkValue& value, std::size_t words = 1) {
    const auto first = word(number);
    if (!first) return;
    for (std::size_t at = *first; at < std::min(*first + words, kWords); at++) registers_[at] = value;
  }

  void test(std::uint32_t bits) { facts_.add({owner_, MarkAction::Test, bits, 0}); }

  void meta_mark(const Attributes& all) {
    if (all.at(NFTA_META_DREG)) return write(all.number(NFTA_META_DREG), whole_mark());
    const MarkValue value = read(all.number(NFTA_META_SREG));
    const std::uint32_t changed = ~value.kept;
    if ((changed & ~value.known) == 0)
      facts_.add({owner_, MarkAction::Set, changed, value.value & changed});
    else
      facts_.add({owner_, MarkAction::Overwrite, changed, 0});
  }

  void set_connection(const Attributes& all) {
    if (all.number(NFTA_CT_KEY) != NFT_CT_MARK) return;
    facts_.add({owner_, MarkAction::Save, read(all.number(NFTA_CT_SREG)).depends, 0});
  }

  void immediate(const Attributes& all) {
    const auto value = all.data(NFTA_IMMEDIATE_DATA);  // none: a verdict, or more than a word
    write(all.number(NFTA_IMMEDIATE_DREG), value ? constant(*value) : anything(), value ? 1 : kWordsOfAnAddress);
  }

  void bitwise(const Attributes& all) {
    const auto to = all.number(NFTA_BITWISE_DREG);
    const MarkValue from = read(all.number(NFTA_BITWISE_SREG));
    const std::uint32_t operation = all.number(NFTA_BITWISE_OP).value_or(NFT_BITWISE_BOOL);
    if (all.number(NFTA_BITWISE_LEN) != sizeof(std::uint32_t)) return write(to, anything(), kWordsOfAnAddress);
    const auto mask = all.data(NFTA_BITWISE_MASK), turned = all.data(NFTA_BITWISE_XOR);
    if (operation == NFT_BITWISE_BOOL && mask && turned)
      return write(to, bits_xor(bits_and(from, constant(*mask)), constant(*turned)));
    const auto data = all.data(NFTA_BITWISE_DATA);
    const MarkValue other = data ? constant(*data) : read(all.number(kBitwiseSecondRegister));
    switch (operation) {
      case kBitwiseAnd:
        return write(to, bits_and(from, other));
      case kBitwiseOr:
        return write(to, bits_or(from, other));
      case kBitwiseXor:
        return write(to, bits_xor(from, other));
      default:
        return write(to, anything(from.depends));  // shifted, or not known
    }
  }

  void compare(const Attributes& all) {
    const MarkValue value = read(all.number(NFTA_CMP_SREG));
    const auto operation = all.number(NFTA_CMP_OP);
    const auto data = all.data(NFTA_CMP_DATA);
    const bool equality = operation == NFT_CMP_EQ || operation == NFT_CMP_NEQ;
    if (equality && data && value.in_place && value.kept == value.depends)
      facts_.add({owner_, MarkAction::Match, value.depends, *data & value.depends});
    else
      test(value.depends);
  }

  // Several words may be looked up together; one that was not written ends them.
  void look_up(const Attributes& all) {
    if (const auto first = word(all.number(NFTA_LOOKUP_SREG)))
      for (std::size_t at = *first; at < kWords && registers_[at]; at++) {
        test(registers_[at]->depends);
        registers_[at].reset();
      }
    if (all.at(NFTA_LOOKUP_DREG)) write(all.number(NFTA_LOOKUP_DREG), anything(), kWordsOfAnAddress);
  }

  std::string owner_;
  MarkFacts& facts_;
  std::array<std::optional<MarkValue>, kWords> registers_{};
};

std::string family_name(unsigned int family) {
  switch (family) {
    case NFPROTO_INET:
      return "inet";
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    case NFPROTO_ARP:
      return "arp";
    case NFPROTO_BRIDGE:
      return "bridge";
    case NFPROTO_NETDEV:
      return "netdev";
    default:
      return "family " + std::to_string(family);
  }
}

}  // namespace

void nftables_rule_marks(nlmsghdr* message, MarkFacts& facts) {
  std::array<nlattr*, NFTA_RULE_MAX + 1> rule{};
  if (!parse_nftables(message, NFT_MSG_NEWRULE, rule)) return;
  const auto* header = static_cast<nfgenmsg*>(nlmsg_data(message));
  const auto text = [&](int type) { return attribute_text(rule[static_cast<std::size_t>(type)]); };
  if (is_gate_table(text(NFTA_RULE_TABLE))) return;  // ours
  Rule followed(
      "nftables " + family_name(header->nfgen_family) + " " + text(NFTA_RULE_TABLE) + " " + text(NFTA_RULE_CHAIN),
      facts);
  if (!rule[NFTA_RULE_EXPRESSIONS]) return;
  nlattr* each = nullptr;
  int left = 0;
  nla_for_each_nested(each, rule[NFTA_RULE_EXPRESSIONS], left) {
    const Attributes expression(each);
    followed.follow(expression.text(NFTA_EXPR_NAME), Attributes(expression.at(NFTA_EXPR_DATA)));
  }
}

}  // namespace grantd
