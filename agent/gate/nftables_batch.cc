#include "agent/gate/nftables_batch.h"

#include <arpa/inet.h>
#include <netlink/attr.h>
#include <sys/socket.h>

#include <cerrno>

namespace grantd {

void put_number(nl_msg* message, int type, std::uint32_t value) { nla_put_u32(message, type, htonl(value)); }
void put_text(nl_msg* message, int type, const std::string& text) { nla_put_string(message, type, text.c_str()); }

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
  int refused = 0;  // the first error
  drain_netlink(socket, [&](nlmsghdr* header) {
    if (header->nlmsg_type != NLMSG_ERROR) return;
    const int error = static_cast<const nlmsgerr*>(nlmsg_data(header))->error;
    if (error == 0)
      acknowledged++;
    else if (refused == 0)
      refused = -error;
  });
  if (refused != 0) return system_error("nftables", refused);
  if (acknowledged == messages_) return {};
  return Error{
      "nftables: " + std::to_string(acknowledged) + " of " + std::to_string(messages_) + " changes were answered",
      EAGAIN};
}

}  // namespace grantd
