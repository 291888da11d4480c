// Changes of nftables that come into force together or not at all, by netlink (the kernel's
// net/netfilter/nf_tables_api.c).
#pragma once

#include "agent/netlink/nftables.h"

#include <cstdint>
#include <string>

namespace grantd {

// Numbers in attributes are big-endian, but for what a rule compares with a packet's own.
void put_number(nl_msg* message, int type, std::uint32_t value);
void put_text(nl_msg* message, int type, const std::string& text);

// Attributes of one within the other, for as long as it lives.
class Nested {
 public:
  Nested(nl_msg* message, int type) : message_(message), start_(nla_nest_start(message, type)) {}
  ~Nested() {
    if (start_) nla_nest_end(message_, start_);
  }
  Nested(const Nested&) = delete;
  Nested& operator=(const Nested&) = delete;

 private:
  nl_msg* message_;
  nlattr* start_;
};

class NftablesBatch {
 public:
  NftablesBatch();
  // What `fill` puts in. One that does not fit is an error of send().
  template <typename Fill>
  void add(int type, std::uint8_t family, int flags, Fill fill) {
    NetlinkMessage message = nftables_request(type, family, flags | NLM_F_ACK);
    if (message) fill(message.get());
    append(message.get());
  }
  bool empty() const { return messages_ == 0; }
  // error_number as the kernel says it: ENOENT, EOPNOTSUPP or EINVAL (no such family or no nf_tables here), EPERM.
  Result<void> send(nl_sock* socket);

 private:
  void append(nl_msg* message);
  void mark(int type);

  std::string bytes_;
  std::size_t messages_ = 0;
  std::uint32_t sequence_ = 0;
  bool complete_ = true;  // nothing was left out for want of memory
};

}  // namespace grantd
