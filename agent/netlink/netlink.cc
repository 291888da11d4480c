#include "agent/netlink/netlink.h"

#include <netlink/errno.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace grantd {

namespace {

struct Answer {
  const std::function<void(nlmsghdr*)>& take;
  bool complete = false;
};

int on_message(nl_msg* message, void* answer) {
  static_cast<Answer*>(answer)->take(nlmsg_hdr(message));
  return NL_OK;
}

int on_end(nl_msg*, void* answer) {
  static_cast<Answer*>(answer)->complete = true;
  return NL_STOP;
}

}  // namespace

Error netlink_error(const std::string& what, int code) {
  int error_number = 0;
  switch (-code) {
    case NLE_NODEV:
      error_number = ENODEV;
      break;
    case NLE_OBJ_NOTFOUND:
      error_number = ENOENT;
      break;
    case NLE_EXIST:
      error_number = EEXIST;
      break;
    case NLE_INVAL:
      error_number = EINVAL;
      break;
    case NLE_DUMP_INTR:
      error_number = EINTR;
      break;
    case NLE_NOMEM:
      error_number = ENOMEM;
      break;
    case NLE_PROTO_MISMATCH:
      error_number = EPROTONOSUPPORT;
      break;
    case NLE_AGAIN:
      error_number = EAGAIN;
      break;
    default:
      break;
  }
  return Error{what + ": " + nl_geterror(code), error_number};
}

Error no_netlink_memory() { return Error{"netlink: no memory", ENOMEM}; }

Result<NetlinkSocket> connect_netlink(int protocol) {
  NetlinkSocket socket(nl_socket_alloc());
  if (!socket) return Error{"netlink: no memory for a socket", ENOMEM};
  if (const int code = nl_connect(socket.get(), protocol); code < 0) return netlink_error("netlink", code);
  // The kernel answers while it is asked. Where the question was lost, libnl would wait for ever.
  constexpr timeval kPatience{1, 0};
  if (setsockopt(nl_socket_get_fd(socket.get()), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof(kPatience)) != 0)
    return system_error("netlink: cannot bound the wait for an answer", errno);
  return socket;
}

Result<void> ask_netlink(nl_sock* socket, nl_msg* request, const std::function<void(nlmsghdr*)>& take) {
  const std::unique_ptr<nl_cb, NetlinkDeleter<nl_cb_put>> callbacks(nl_cb_alloc(NL_CB_DEFAULT));
  if (!callbacks) return no_netlink_memory();
  Answer answer{take};
  nl_cb_set(callbacks.get(), NL_CB_VALID, NL_CB_CUSTOM, on_message, &answer);
  nl_cb_set(callbacks.get(), NL_CB_ACK, NL_CB_CUSTOM, on_end, &answer);
  nl_cb_set(callbacks.get(), NL_CB_FINISH, NL_CB_CUSTOM, on_end, &answer);
  if (const int code = nl_send_auto(socket, request); code < 0) return netlink_error("netlink", code);
  // One answer may come in several reads: the messages, then the acknowledgement.
  while (!answer.complete)
    if (const int code = nl_recvmsgs(socket, callbacks.get()); code < 0) return netlink_error("netlink", code);
  return {};
}

std::string attribute_text(const nlattr* attribute) {
  if (!attribute) return {};
  const auto* characters = static_cast<const char*>(nla_data(attribute));
  return {characters, strnlen(characters, static_cast<std::size_t>(nla_len(attribute)))};
}

Result<NetlinkSocket> listen_to_netlink(int protocol, const std::vector<int>& groups) {
  auto socket = connect_netlink(protocol);
  if (!socket) return socket;
  nl_sock* const listener = socket.value().get();
  nl_socket_disable_seq_check(listener);
  for (const int group : groups)
    if (const int code = nl_socket_add_membership(listener, group); code < 0) return netlink_error("netlink", code);
  if (const int code = nl_socket_set_nonblocking(listener); code < 0) return netlink_error("netlink", code);
  nl_socket_set_buffer_size(listener, 1 << 20, 0);
  return socket;
}

bool drain_netlink(nl_sock* socket, const std::function<void(nlmsghdr*)>& take) {
  bool lost = false;
  alignas(nlmsghdr) std::array<char, 65536> buffer;
  while (true) {
    const auto received = recv(nl_socket_get_fd(socket), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0 && errno == ENOBUFS) {
      lost = true;
      continue;
    }
    if (received <= 0) return lost;
    int left = static_cast<int>(received);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); nlmsg_ok(message, left);
         message = nlmsg_next(message, &left))
      take(message);
  }
}

}  // namespace grantd
