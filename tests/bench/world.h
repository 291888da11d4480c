// One world of the benchmark as the load generator sees it: a guest and a peer, in network
// namespaces of their own, with a node between them that forwards.
#pragma once

#include "maps/result.h"
#include "tests/bench/frame.h"

#include <string>
#include <vector>

namespace grantd::bench {

// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  Fd& operator=(Fd&& other) noexcept;
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd();
  int get() const { return fd_; }

 private:
  int fd_ = -1;
};

// Addresses in network byte order, ports in host byte order.
struct WorldFacts {
  std::string name;
  std::string guest_netns, node_netns, peer_netns;  // paths
  std::string guest_interface, peer_interface;
  Mac guest_mac{}, guest_gateway_mac{}, peer_mac{}, peer_gateway_mac{};
  std::uint32_t guest_address = 0;
  std::uint32_t peer_address = 0;         // inside the grantee's realm: may begin flows to the guest
  std::uint32_t destination = 0;          // first of 256 addresses that the Grant names
  std::uint16_t destination_port = 0;     // the one port (UDP) that it names there
  std::uint32_t refused_destination = 0;  // an address that it does not name
  std::uint32_t stranger = 0;             // an address of no realm
  bool enforces = false;                  // refused packets must not arrive; else they must
};

Result<void> enter_netns(const Fd& netns);

class World {
 public:
  static Result<World> open(const WorldFacts& facts);

  const WorldFacts& facts() const { return facts_; }
  const Fd& guest_netns() const { return guest_netns_; }
  const Fd& peer_netns() const { return peer_netns_; }
  // AF_PACKET sockets that send past the queueing discipline.
  const Fd& guest_wire() const { return guest_wire_; }
  const Fd& peer_wire() const { return peer_wire_; }
  // Packets that the interface at that end has received so far.
  Result<std::uint64_t> guest_received() const;
  Result<std::uint64_t> peer_received() const;
  // Empties the node's connection tracking table.
  Result<void> flush_conntrack() const;

 private:
  WorldFacts facts_;
  Fd guest_netns_, peer_netns_, guest_wire_, peer_wire_, guest_counters_, peer_counters_, node_netfilter_;
};

}  // namespace grantd::bench
