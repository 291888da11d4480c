#include "tests/bench/world.h"

#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>

namespace grantd::bench {

Fd& Fd::operator=(Fd&& other) noexcept {
  std::swap(fd_, other.fd_);
  return *this;
}

Fd::~Fd() {
  if (fd_ >= 0) close(fd_);
}

Result<void> enter_netns(const Fd& netns) {
  if (setns(netns.get(), CLONE_NEWNET) != 0) return system_error("setns", errno);
  return {};
}

namespace {

Result<Fd> open_file(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (fd.get() < 0) return system_error("open " + path, errno);
  return fd;
}

// In the network namespace of the caller.
Result<Fd> open_wire(const std::string& interface) {
  Fd fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));  // protocol 0: receives nothing
  if (fd.get() < 0) return system_error("socket AF_PACKET", errno);
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  if (address.sll_ifindex == 0) return system_error("interface " + interface, errno);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0)
    return system_error("bind to " + interface, errno);
  const int on = 1;
  if (setsockopt(fd.get(), SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0)
    return system_error("PACKET_QDISC_BYPASS", errno);
  return fd;
}

struct End {
  Fd netns, wire, counters;
};

Result<End> open_end(const std::string& netns, const std::string& interface) {
  auto opened = open_file(netns);
  if (!opened) return opened.error();
  if (auto entered = enter_netns(opened.value()); !entered) return entered.error();
  auto wire = open_wire(interface);
  if (!wire) return wire.error();
  auto counters = open_file("/proc/thread-self/net/dev");  // stays with this namespace
  if (!counters) return counters.error();
  return End{std::move(opened).value(), std::move(wire).value(), std::move(counters).value()};
}

// The first number after "INTERFACE: BYTES".
Result<std::uint64_t> received_packets(const Fd& counters, const std::string& interface) {
  std::string text(1 << 16, '\0');
  if (lseek(counters.get(), 0, SEEK_SET) != 0) return system_error("rewind /proc/net/dev", errno);
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = read(counters.get(), text.data() + filled, text.size() - filled);
    if (got < 0) return system_error("read /proc/net/dev", errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  text.resize(filled);
  const std::size_t at = text.find(" " + interface + ":");
  if (at == std::string::npos) return Error{"interface " + interface + " is not in /proc/net/dev", 0};
  char* next = text.data() + at + interface.size() + 2;
  std::strtoull(next, &next, 10);
  return std::uint64_t{std::strtoull(next, &next, 10)};
}

}  // namespace

Result<World> World::open(const WorldFacts& facts) {
  World world;
  world.facts_ = facts;
  auto guest = open_end(facts.guest_netns, facts.guest_interface);
  if (!guest) return guest.error();
  auto peer = open_end(facts.peer_netns, facts.peer_interface);
  if (!peer) return peer.error();
  world.guest_netns_ = std::move(guest.value().netns);
  world.guest_wire_ = std::move(guest.value().wire);
  world.guest_counters_ = std::move(guest.value().counters);
  world.peer_netns_ = std::move(peer.value().netns);
  world.peer_wire_ = std::move(peer.value().wire);
  world.peer_counters_ = std::move(peer.value().counters);

  auto node = open_file(facts.node_netns);
  if (!node) return node.error();
  if (auto entered = enter_netns(node.value()); !entered) return entered.error();
  world.node_netfilter_ = Fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (world.node_netfilter_.get() < 0) return system_error("socket NETLINK_NETFILTER", errno);
  return world;
}

Result<std::uint64_t> World::guest_received() const {
  return received_packets(guest_counters_, facts_.guest_interface);
}
Result<std::uint64_t> World::peer_received() const { return received_packets(peer_counters_, facts_.peer_interface); }

Result<void> World::flush_conntrack() const {
  struct {
    nlmsghdr header;
    nfgenmsg family;
  } request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.family.nfgen_family = AF_UNSPEC;
  request.family.version = NFNETLINK_V0;
  if (send(node_netfilter_.get(), &request, sizeof request, 0) < 0) return system_error("flush conntrack", errno);
  char reply[512];
  const ssize_t got = recv(node_netfilter_.get(), reply, sizeof reply, 0);
  if (got < static_cast<ssize_t>(sizeof(nlmsghdr) + sizeof(nlmsgerr))) return Error{"flush conntrack: short reply", 0};
  const auto* error = reinterpret_cast<const nlmsgerr*>(reply + sizeof(nlmsghdr));
  if (error->error != 0) return system_error("flush conntrack", -error->error);
  return {};
}

}  // namespace grantd::bench
