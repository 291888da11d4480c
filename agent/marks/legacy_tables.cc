#include "agent/marks/legacy_tables.h"

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <cstring>

namespace grantd {

namespace {

struct Extension {
  std::string_view name;
  unsigned int revision = 0;
  Bytes info;
  std::size_t size = 0;  // with its head
};

std::string_view text_in(const char* text, std::size_t room) { return {text, strnlen(text, room)}; }

// A match or a target at the front of `bytes`; they begin alike. Size 0: there is none.
Extension extension_at(Bytes bytes) {
  xt_entry_target head{};
  if (bytes.size() < sizeof(head)) return {};
  std::memcpy(&head, bytes.data(), sizeof(head));
  const std::size_t size = head.u.user.target_size;
  if (size < sizeof(head) || size > bytes.size()) return {};
  const auto* name = reinterpret_cast<const char*>(bytes.data()) + offsetof(xt_entry_target, u.user.name);
  return {text_in(name, sizeof(head.u.user.name)), head.u.user.revision,
          bytes.subspan(sizeof(head), size - sizeof(head)), size};
}

struct Walk {
  const std::string& table;
  const std::map<std::size_t, std::string>& chains;
  MarkFacts& facts;
  std::string chain;
};

// One rule at `offset`; 0 where it is none, else its size.
template <typename Entry>
std::size_t rule_at(Bytes blob, std::size_t offset, Walk& walk) {
  Entry entry{};
  const Bytes rest = blob.subspan(offset);
  if (rest.size() < sizeof(entry)) return 0;
  std::memcpy(&entry, rest.data(), sizeof(entry));
  const std::size_t size = entry.next_offset, target_at = entry.target_offset;
  if (size > rest.size() || target_at < sizeof(entry) || target_at > size) return 0;
  const Extension target = extension_at(rest.subspan(target_at, size - target_at));
  if (target.size == 0) return 0;
  // A chain of the user begins with a rule of this target, which bears its name.
  if (target.name == "ERROR") {
    walk.chain = text_in(reinterpret_cast<const char*>(target.info.data()), target.info.size());
    return size;
  }
  if (const auto built_in = walk.chains.find(offset); built_in != walk.chains.end()) walk.chain = built_in->second;
  const std::string owner = walk.table + " " + walk.chain;
  for (std::size_t at = sizeof(entry); at < target_at;) {
    const Extension match = extension_at(rest.subspan(at, target_at - at));
    if (match.size == 0) return 0;
    xt_match_marks(owner, match.name, match.revision, match.info, walk.facts);
    at += match.size;
  }
  xt_target_marks(owner, target.name, target.revision, target.info, walk.facts);
  return size;
}

}  // namespace

Result<void> legacy_table_marks(XtFamily family, const std::string& table,
                                const std::map<std::size_t, std::string>& chains, Bytes blob, MarkFacts& facts) {
  Walk walk{table, chains, facts, ""};
  for (std::size_t at = 0; at < blob.size();) {
    const std::size_t size =
        family == XtFamily::IPv4 ? rule_at<ipt_entry>(blob, at, walk) : rule_at<ip6t_entry>(blob, at, walk);
    if (size == 0) return Error{"rules of " + table + ": not understood at byte " + std::to_string(at), 0};
    at += size;
  }
  return {};
}

}  // namespace grantd
