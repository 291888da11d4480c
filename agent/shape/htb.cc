#include "agent/shape/htb.h"

#include "agent/plan/queue_classes.h"
#include "agent/shape/queue_link.h"
#include "agent/shape/traffic_request.h"

#include <netlink/attr.h>

#include <algorithm>
#include <cerrno>

namespace grantd {

namespace {

constexpr std::uint32_t kMajor = GRANTD_QUEUE_MAJOR << 16, kHtbVersion = 3, kRateToQuantum = 10;
constexpr std::uint64_t kLargest32 = 0xffffffff;
// Of SFQ: a frame at each turn of a flow; flows, and packets of one, at most, as the kernel has it.
constexpr unsigned kSfqQuantum = 1514, kSfqMost = 127;

std::uint32_t class_of(std::uint32_t minor) { return kMajor | minor; }
// A handle of its own for the queue of each class: those that the kernel gives run out. One of another kind needs
// another handle, or it does not take its place.
std::uint32_t handle_of(std::uint32_t minor, bool fair) {
  return (fair ? minor - kFirstGuestMinor + GRANTD_QUEUE_MAJOR + 1 : minor) << 16;
}

Result<void> carry_out(nl_sock* socket, nl_msg* message, const std::string& what, int harmless = 0) {
  auto done = ask_netlink(socket, message, [](nlmsghdr*) {});
  if (done || (harmless && done.error().error_number == harmless)) return {};
  return Error{what + ": " + done.error().message, done.error().error_number};
}

Result<bool> has_root(nl_sock* socket, std::uint32_t ifindex) {
  bool found = false;
  const NetlinkMessage message = traffic_request(RTM_GETQDISC, NLM_F_DUMP, ifindex, 0, 0);
  if (!message) return no_netlink_memory();
  auto asked = ask_netlink(socket, message.get(), [&](nlmsghdr* answer) {
    const auto* header = static_cast<tcmsg*>(nlmsg_data(answer));
    nlattr* attributes[TCA_MAX + 1];
    if (header->tcm_ifindex != static_cast<int>(ifindex) || header->tcm_handle != kMajor ||
        nlmsg_parse(answer, sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0)
      return;
    found = attributes[TCA_KIND] && std::string("htb") == nla_get_string(attributes[TCA_KIND]);
  });
  if (!asked) return asked.error();
  return found;
}

Result<void> put_root(nl_sock* socket, std::uint32_t ifindex) {
  const NetlinkMessage message =
      traffic_request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex, TC_H_ROOT, kMajor);
  tc_htb_glob glob{};
  glob.version = kHtbVersion;
  glob.rate2quantum = kRateToQuantum;
  if (!message || nla_put_string(message.get(), TCA_KIND, "htb") < 0) return no_netlink_memory();
  nlattr* options = nla_nest_start(message.get(), TCA_OPTIONS);
  if (!options || nla_put(message.get(), TCA_HTB_INIT, sizeof(glob), &glob) < 0) return no_netlink_memory();
  nla_nest_end(message.get(), options);
  return carry_out(socket, message.get(), "cannot put an HTB qdisc on interface " + std::to_string(ifindex));
}

// The kernel keeps 64 ns a tick.
std::uint32_t ticks_of(std::uint64_t nanoseconds) {
  return static_cast<std::uint32_t>(std::min(nanoseconds / kQueueTickNs, kLargest32));
}

Result<void> put_htb_class(nl_sock* socket, std::uint32_t ifindex, std::uint32_t minor, const QueueClass& wanted) {
  const NetlinkMessage message = traffic_request(RTM_NEWTCLASS, NLM_F_CREATE, ifindex,
                                                 wanted.parent ? class_of(wanted.parent) : kMajor, class_of(minor));
  tc_htb_opt parameters{};
  // With the link layer told, no table of rates is asked for.
  parameters.rate.linklayer = parameters.ceil.linklayer = TC_LINKLAYER_ETHERNET;
  parameters.rate.rate = static_cast<std::uint32_t>(std::min(wanted.rate_bytes, kLargest32));
  parameters.ceil.rate = static_cast<std::uint32_t>(std::min(wanted.ceil_bytes, kLargest32));
  parameters.buffer = ticks_of(wanted.burst_ns);
  parameters.cbuffer = ticks_of(wanted.ceil_burst_ns);
  parameters.quantum = wanted.quantum_bytes;
  if (!message || nla_put_string(message.get(), TCA_KIND, "htb") < 0) return no_netlink_memory();
  nlattr* options = nla_nest_start(message.get(), TCA_OPTIONS);
  if (!options || nla_put(message.get(), TCA_HTB_PARMS, sizeof(parameters), &parameters) < 0)
    return no_netlink_memory();
  if (wanted.rate_bytes >= kLargest32 && nla_put_u64(message.get(), TCA_HTB_RATE64, wanted.rate_bytes) < 0)
    return no_netlink_memory();
  if (wanted.ceil_bytes >= kLargest32 && nla_put_u64(message.get(), TCA_HTB_CEIL64, wanted.ceil_bytes) < 0)
    return no_netlink_memory();
  nla_nest_end(message.get(), options);
  return carry_out(socket, message.get(), "cannot put " + class_text(minor));
}

tc_sfq_qopt_v1 sfq_options(std::uint32_t bytes) {
  tc_sfq_qopt_v1 options{};
  options.v0.quantum = kSfqQuantum;
  options.v0.limit = bytes / kQueueStepBytes;
  options.v0.flows = options.depth = kSfqMost;
  return options;
}

Result<void> put_leaf(nl_sock* socket, std::uint32_t ifindex, std::uint32_t minor, const QueueClass& wanted) {
  const NetlinkMessage message = traffic_request(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, ifindex, class_of(minor),
                                                 handle_of(minor, wanted.fair));
  const tc_fifo_qopt fifo{wanted.queue_bytes};
  const tc_sfq_qopt_v1 sfq = sfq_options(wanted.queue_bytes);
  if (!message || nla_put_string(message.get(), TCA_KIND, wanted.fair ? "sfq" : "bfifo") < 0 ||
      (wanted.fair ? nla_put(message.get(), TCA_OPTIONS, sizeof(sfq), &sfq)
                   : nla_put(message.get(), TCA_OPTIONS, sizeof(fifo), &fifo)) < 0)
    return no_netlink_memory();
  return carry_out(socket, message.get(), "cannot bound the queue of " + class_text(minor));
}

Result<void> delete_class(nl_sock* socket, std::uint32_t ifindex, std::uint32_t minor) {
  const NetlinkMessage message = traffic_request(RTM_DELTCLASS, 0, ifindex, 0, class_of(minor));
  if (!message) return no_netlink_memory();
  return carry_out(socket, message.get(), "cannot remove " + class_text(minor), ENOENT);
}

std::optional<QueueClass> read_class(nlattr* options, const tcmsg& header) {
  nlattr* attributes[TCA_HTB_MAX + 1];
  if (!options || nla_parse_nested(attributes, TCA_HTB_MAX, options, nullptr) < 0 || !attributes[TCA_HTB_PARMS] ||
      nla_len(attributes[TCA_HTB_PARMS]) < static_cast<int>(sizeof(tc_htb_opt)))
    return std::nullopt;
  const auto* parameters = static_cast<const tc_htb_opt*>(nla_data(attributes[TCA_HTB_PARMS]));
  QueueClass found;
  found.parent = header.tcm_parent == TC_H_ROOT ? 0 : TC_H_MIN(header.tcm_parent);
  found.rate_bytes = attributes[TCA_HTB_RATE64] ? nla_get_u64(attributes[TCA_HTB_RATE64]) : parameters->rate.rate;
  found.ceil_bytes = attributes[TCA_HTB_CEIL64] ? nla_get_u64(attributes[TCA_HTB_CEIL64]) : parameters->ceil.rate;
  found.burst_ns = parameters->buffer * kQueueTickNs;
  found.ceil_burst_ns = parameters->cbuffer * kQueueTickNs;
  found.quantum_bytes = parameters->quantum;
  return found;
}

Result<void> read_classes(nl_sock* socket, ShaperState& state) {
  const NetlinkMessage message = traffic_request(RTM_GETTCLASS, NLM_F_DUMP, state.queue_ifindex, 0, 0);
  if (!message) return no_netlink_memory();
  return ask_netlink(socket, message.get(), [&](nlmsghdr* answer) {
    const auto* header = static_cast<tcmsg*>(nlmsg_data(answer));
    nlattr* attributes[TCA_MAX + 1];
    if (TC_H_MAJ(header->tcm_handle) != kMajor || nlmsg_parse(answer, sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0)
      return;
    if (auto found = read_class(attributes[TCA_OPTIONS], *header)) state.classes[TC_H_MIN(header->tcm_handle)] = *found;
  });
}

// One that is not as we make them is taken for none.
void read_leaf(const std::string& kind, nlattr* options, QueueClass& found) {
  const auto size = static_cast<std::size_t>(nla_len(options));
  if (kind == "bfifo" && size >= sizeof(tc_fifo_qopt)) {
    found.queue_bytes = static_cast<const tc_fifo_qopt*>(nla_data(options))->limit;
  } else if (kind == "sfq" && size >= sizeof(tc_sfq_qopt_v1)) {
    const auto* sfq = static_cast<const tc_sfq_qopt_v1*>(nla_data(options));
    if (sfq->v0.quantum != kSfqQuantum || sfq->v0.flows != kSfqMost || sfq->depth != kSfqMost) return;
    found.queue_bytes = sfq->v0.limit * kQueueStepBytes;
    found.fair = true;
  }
}

Result<void> read_leaves(nl_sock* socket, ShaperState& state) {
  const NetlinkMessage message = traffic_request(RTM_GETQDISC, NLM_F_DUMP, state.queue_ifindex, 0, 0);
  if (!message) return no_netlink_memory();
  return ask_netlink(socket, message.get(), [&](nlmsghdr* answer) {
    const auto* header = static_cast<tcmsg*>(nlmsg_data(answer));
    nlattr* attributes[TCA_MAX + 1];
    if (header->tcm_ifindex != static_cast<int>(state.queue_ifindex) || TC_H_MAJ(header->tcm_parent) != kMajor ||
        nlmsg_parse(answer, sizeof(tcmsg), attributes, TCA_MAX, nullptr) < 0 || !attributes[TCA_OPTIONS] ||
        !attributes[TCA_KIND])
      return;
    if (const auto found = state.classes.find(TC_H_MIN(header->tcm_parent)); found != state.classes.end())
      read_leaf(nla_get_string(attributes[TCA_KIND]), attributes[TCA_OPTIONS], found->second);
  });
}

Result<ShaperState> read_queues(nl_sock* socket, const std::string& pin_root) {
  ShaperState state;
  auto link = read_queue_link(socket, pin_root);
  if (!link) return link.error();
  if (!link.value()) return state;
  auto root = has_root(socket, link.value()->queue_ifindex);
  if (!root) return root.error();
  if (!root.value()) return state;
  state.queue_ifindex = link.value()->queue_ifindex;
  state.release_ifindex = link.value()->release_ifindex;
  if (auto read = read_classes(socket, state); !read) return read.error();
  if (auto read = read_leaves(socket, state); !read) return read.error();
  return state;
}

// Found out on a class that nothing is sent to.
bool takes_fair_class(nl_sock* socket, std::uint32_t ifindex) {
  grantd_limit limit{};
  limit.rate_bps = GRANTD_MIN_RATE_BPS;
  limit.burst_bytes = GRANTD_MIN_BURST_BYTES;
  const QueueClass trial = guest_class(limit, GRANTD_EGRESS, 0, 1, true);
  if (!put_htb_class(socket, ifindex, kTrialMinor, trial)) return false;
  const bool taken = put_leaf(socket, ifindex, kTrialMinor, trial).ok();
  return delete_class(socket, ifindex, kTrialMinor).ok() && taken;
}

struct Opened {
  NetlinkSocket socket;
  QueueLink link;
};

Result<Opened> open_queues(const std::string& pin_root) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto link = read_queue_link(socket.value().get(), pin_root);
  if (!link) return link.error();
  if (!link.value()) return Error{"the interface " + queue_name(pin_root) + " is gone", ENODEV};
  return Opened{std::move(socket).value(), *link.value()};
}

}  // namespace

Result<void> HtbShaper::make() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto link = make_queue_link(socket.value().get(), pin_root_);
  if (!link) return link.error();
  auto root = has_root(socket.value().get(), link.value().queue_ifindex);
  if (!root) return root.error();
  if (!root.value())
    if (auto put = put_root(socket.value().get(), link.value().queue_ifindex); !put) return put;
  fair_queues_ = takes_fair_class(socket.value().get(), link.value().queue_ifindex);
  return {};
}

// What changes while it is read is read once more.
Result<ShaperState> HtbShaper::read() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto state = read_queues(socket.value().get(), pin_root_);
  for (int again = 0; !state && state.error().error_number == EINTR && again < 3; again++)
    state = read_queues(socket.value().get(), pin_root_);
  if (!state) return state.error();
  ShaperState read = std::move(state).value();
  read.fair_queues = fair_queues_;
  return read;
}

Result<ShaperState> HtbShaper::refresh(const ShaperState& known) {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  auto link = read_queue_link(socket.value().get(), pin_root_);
  if (!link) return link.error();
  if (!link.value()) return ShaperState{};
  auto root = has_root(socket.value().get(), link.value()->queue_ifindex);
  if (!root) return root.error();
  if (root.value() && link.value()->queue_ifindex == known.queue_ifindex &&
      link.value()->release_ifindex == known.release_ifindex)
    return known;
  return read();
}

Result<void> HtbShaper::put_class(std::uint32_t minor, const QueueClass& wanted) {
  auto opened = open_queues(pin_root_);
  if (!opened) return opened.error();
  nl_sock* socket = opened.value().socket.get();
  const std::uint32_t ifindex = opened.value().link.queue_ifindex;
  if (auto put = put_htb_class(socket, ifindex, minor, wanted); !put) return put;
  return wanted.queue_bytes ? put_leaf(socket, ifindex, minor, wanted) : Result<void>();
}

Result<void> HtbShaper::remove_class(std::uint32_t minor) {
  auto opened = open_queues(pin_root_);
  if (!opened) return opened.error().error_number == ENODEV ? Result<void>() : opened.error();
  return delete_class(opened.value().socket.get(), opened.value().link.queue_ifindex, minor);
}

Result<void> HtbShaper::remove() {
  auto socket = connect_netlink();
  if (!socket) return socket.error();
  return remove_queue_link(socket.value().get(), pin_root_);
}

}  // namespace grantd
