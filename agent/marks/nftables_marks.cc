#include "agent/marks/nftables_rule.h"
#include "agent/marks/read_marks.h"
#include "agent/netlink/nftables.h"

#include <linux/netfilter.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <cerrno>

namespace grantd {

namespace {

constexpr int kAttempts = 5;           // rules that change while they are listed are listed again
constexpr timeval kLongestWait{5, 0};  // for each read

Result<void> list_rules(MarkFacts& facts) {
  auto socket = connect_netlink(NETLINK_NETFILTER);
  if (!socket) return socket.error();
  setsockopt(nl_socket_get_fd(socket.value().get()), SOL_SOCKET, SO_RCVTIMEO, &kLongestWait, sizeof(kLongestWait));
  const NetlinkMessage request = nftables_request(NFT_MSG_GETRULE, NFPROTO_UNSPEC, NLM_F_DUMP);
  if (!request) return no_netlink_memory();
  return ask_netlink(socket.value().get(), request.get(),
                     [&](nlmsghdr* answer) { nftables_rule_marks(answer, facts); });
}

}  // namespace

Result<void> read_nftables_marks(MarkFacts& facts) {
  for (int attempt = 1;; attempt++) {
    MarkFacts listed;
    auto done = list_rules(listed);
    const int error_number = done ? 0 : done.error().error_number;
    if (error_number == EINTR && attempt < kAttempts) continue;
    facts.add_all(listed);
    if (done || error_number == EINVAL) return {};  // EINVAL: this kernel has no nf_tables
    return Error{"cannot list the rules of nftables: " + done.error().message, error_number};
  }
}

}  // namespace grantd
