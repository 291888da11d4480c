#include "agent/gate/nftables_batch.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

namespace grantd {

void put_number(nl_msg* message, int type, std::uint32_t value) { nla_put_u32(message, type, htonl(value)); }
void put_text(nl_msg* message, int type, const std::string& text) { nla_put_string(message, type, text.c_str()); }

NetlinkMessage nftables_request(int type, std::uint8_t family, int flags) {
  constexpr std::size_t kLongest = 64 << 10;  // a nested attribute is not longer
  nfgenmsg header{};
  header.nfgen_family = family;
  header.version = NFNETLINK_V0;
  NetlinkMessage message(nlmsg_alloc_size(kLongest));
  if (!message) return message;
  if (!nlmsg_put(message.get(), 0, 0, NFNL_SUBSYS_NFTABLES << 8 | type, 0, NLM_F_REQUEST | flags) ||
      nlmsg_append(message.get(), &header, sizeof(header), NLMSG_ALIGNTO) < 0)
    message.reset();
  return message;
}

NftablesBatch::NftablesBatch() { mark(NFNL_MSG_BATCH_BEGIN); }

// Where a batch begins and ends.
void NftablesBatch::mark(int type) {
  struct {
    nlmsghdr message;
    nfgenmsg family;
  } whole{};
  whole.message.nlmsg_len = sizeof(whole);
  whole.message.nlmsg_type = static_cast<std::uint16_t>(type);
  whole.message.nlmsg_flags = NLM_F_REQUEST;
  whole.message.nlmsg_seq = sequence_++;
  whole.family.version = NFNETLINK_V0;
  whole.family.res_id = htons(NFNL_SUBSYS_NFTABLES);
  bytes_.append(reinterpret_cast<const char*>(&whole), sizeof(whole));
}

void NftablesBatch::append(nl_msg* message) {
  if (!message) {
    complete_ = false;
    return;
  }
  nlmsghdr* header = nlmsg_hdr(message);
  header->nlmsg_seq = sequence_++;
  bytes_.append(reinterpret_cast<const char*>(header), NLMSG_ALIGN(header->nlmsg_len));
  messages_++;
}

// The kernel has carried it out, or not, when send() returns: all answers are there.
Result<void> NftablesBatch::send(nl_sock* socket) {
  if (!complete_) return no_netlink_memory();
  mark(NFNL_MSG_BATCH_END);
  const int file = nl_socket_get_fd(socket);
  // A batch is one message to the kernel, which takes none that is longer than the buffer.
  const int room = static_cast<int>(2 * bytes_.size());
  setsockopt(file, SOL_SOCKET, SO_SNDBUFFORCE, &room, sizeof(room));
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  if (sendto(file, bytes_.data(), bytes_.size(), 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof(kernel)) < 0)
    return system_error("nftables", errno);
  std::size_t acknowledged = 0;
  std::vector<char> answer(64 << 10);
  while (true) {
    const ssize_t size = recv(file, answer.data(), answer.size(), MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) break;
    if (size < 0) return system_error("nftables: cannot read the answer", errno);
    auto left = static_cast<std::uint32_t>(size);
    for (auto* header = reinterpret_cast<nlmsghdr*>(answer.data()); NLMSG_OK(header, left);
         header = NLMSG_NEXT(header, left)) {
      if (header->nlmsg_type != NLMSG_ERROR) continue;
      if (const int error = static_cast<const nlmsgerr*>(NLMSG_DATA(header))->error; error != 0)
        return system_error("nftables", -error);
      acknowledged++;
    }
  }
  if (acknowledged == messages_) return {};
  return Error{
      "nftables: " + std::to_string(acknowledged) + " of " + std::to_string(messages_) + " changes were answered",
      EAGAIN};
}

}  // namespace grantd
