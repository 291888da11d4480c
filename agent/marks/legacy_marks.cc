#include "agent/marks/legacy_tables.h"
#include "agent/marks/read_marks.h"
#include "crd-sync/file_text.h"
#include "maps/descriptor.h"

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <sstream>

namespace grantd {

namespace {

constexpr std::size_t kMostBytes = 64 << 20;  // of a table; some 200,000 rules
constexpr std::size_t kMostBytesOfNames = 1 << 16;
constexpr int kAttempts = 3;  // the table may change between the two questions
constexpr const char* kChains[NF_INET_NUMHOOKS] = {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"};

// What differs between the families but in name.
struct Ipv4 {
  using Info = ipt_getinfo;
  using Entries = ipt_get_entries;
  static constexpr XtFamily kFamily = XtFamily::IPv4;
  static constexpr int kDomain = AF_INET, kLevel = IPPROTO_IP, kInfo = IPT_SO_GET_INFO, kEntries = IPT_SO_GET_ENTRIES;
  static constexpr const char *kProgram = "iptables", *kTables = "/proc/thread-self/net/ip_tables_names";
};
struct Ipv6 {
  using Info = ip6t_getinfo;
  using Entries = ip6t_get_entries;
  static constexpr XtFamily kFamily = XtFamily::IPv6;
  static constexpr int kDomain = AF_INET6, kLevel = IPPROTO_IPV6, kInfo = IP6T_SO_GET_INFO,
                       kEntries = IP6T_SO_GET_ENTRIES;
  static constexpr const char *kProgram = "ip6tables", *kTables = "/proc/thread-self/net/ip6_tables_names";
};

template <typename Kind>
Result<void> read_table(int socket, const std::string& name, MarkFacts& facts) {
  const std::string table = std::string(Kind::kProgram) + " " + name;
  for (int attempt = 1;; attempt++) {
    typename Kind::Info info{};
    if (name.size() >= sizeof(info.name)) return Error{"rules of " + table + ": the name is too long", 0};
    name.copy(info.name, name.size());
    socklen_t length = sizeof(info);
    if (getsockopt(socket, Kind::kLevel, Kind::kInfo, &info, &length) != 0)
      return system_error("cannot read the rules of " + table, errno);
    if (info.size > kMostBytes)
      return Error{"rules of " + table + ": " + std::to_string(info.size) + " bytes are too many to be looked at", 0};
    std::vector<unsigned char> answer(sizeof(typename Kind::Entries) + info.size);
    typename Kind::Entries head{};
    name.copy(head.name, name.size());
    head.size = info.size;
    std::memcpy(answer.data(), &head, sizeof(head));
    length = static_cast<socklen_t>(answer.size());
    if (getsockopt(socket, Kind::kLevel, Kind::kEntries, answer.data(), &length) != 0) {
      if (errno == EAGAIN && attempt < kAttempts) continue;
      return system_error("cannot read the rules of " + table, errno);
    }
    std::map<std::size_t, std::string> chains;
    for (unsigned int hook = 0; hook < NF_INET_NUMHOOKS; hook++)
      if (info.valid_hooks & (1U << hook)) chains[info.hook_entry[hook]] = kChains[hook];
    return legacy_table_marks(Kind::kFamily, table, chains,
                              Bytes(answer).subspan(offsetof(typename Kind::Entries, entrytable), info.size), facts);
  }
}

template <typename Kind>
Result<void> read_tables(MarkFacts& facts) {
  auto text = read_whole_file(Kind::kTables, kMostBytesOfNames);
  if (!text && text.error().error_number == ENOENT) return {};  // the kernel has no such tables
  if (!text) return text.error();
  std::istringstream names(std::move(text).value());
  std::string name;
  Descriptor socket;
  while (names >> name) {
    if (!socket.valid()) socket = Descriptor(::socket(Kind::kDomain, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket.valid()) return system_error(std::string("no socket to read the rules of ") + Kind::kProgram, errno);
    if (auto read = read_table<Kind>(socket.get(), name, facts); !read) facts.unread.push_back(read.error().message);
  }
  return {};
}

}  // namespace

void read_legacy_marks(MarkFacts& facts) {
  for (const auto read : {read_tables<Ipv4>, read_tables<Ipv6>})
    if (auto done = read(facts); !done) facts.unread.push_back(done.error().message);
}

}  // namespace grantd
