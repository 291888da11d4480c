// What happens in a test, one step after the other, and how steps are made up.
#pragma once

#include "tests/model/model.h"
#include "tests/model/world.h"
#include "tests/prog/packet.h"

#include <optional>

namespace grantd::model {

struct Step {
  enum class Kind { Send, Change, Age, Forget, Restart, Near, Wait };
  Kind kind = Kind::Send;

  // Send: a frame at a program.
  Program program = Program::FromGuest;
  std::string interface;
  bool from_outside = false;
  std::string who;                    // "", "realm:NAME", "grant:NAME": what the mark says
  std::optional<std::uint32_t> mark;  // the mark itself, which says nobody
  Bytes frame;
  std::uint32_t gso_bytes = 0, gso_segments = 0;
  std::string neighbour;  // the interface of the guest on the same bridge that sends it, if one does

  World world;              // Change: these manifests from now on
  std::uint64_t by_ns = 0;  // Age: as if this long had passed
  std::size_t pick = 0;     // Forget: this one of the flows
  // Near: this Grant is about to end, or to begin; Wait: until it has.
  std::string grant;
  Edge edge = Edge::Begin;
};

// Two ends that speak.
struct Talk {
  std::string guest;  // by name
  std::string local, peer;
  unsigned protocol = kTcp;
  std::uint16_t local_port = 0, peer_port = 0;
  std::string who;  // the peer, rightly or not
  bool local_node = false;
};

class Generator {
 public:
  Generator(Random& random, const World& world);
  Talk talk();
  // One that most worlds allow.
  Talk likely_talk();
  // A packet of this talk, in this direction, well made or spoiled.
  Step packet(const Talk& talk, bool egress);
  // A packet that may begin this talk, well made.
  Step opening(const Talk& talk, bool egress);
  // A piece of a datagram of this talk: the first one, or a later one that follows it or nearly does.
  Step piece(const Talk& talk, bool egress);
  // An ICMP error about this talk.
  Step complaint(const Talk& talk, bool egress);
  // A packet of this talk, well made, that weighs up to half a bucket on the wire; now and then a piece of a datagram.
  Step heavy(const Talk& talk, bool egress);
  // Any packet at any hook.
  Step any();

 private:
  Bytes l4(const Talk& talk, bool egress);
  Bytes tcp(std::uint16_t from, std::uint16_t to);
  Bytes icmp(const Talk& talk, bool egress);
  Bytes quoted(const Talk& talk, bool egress);
  Bytes ip(const Talk& talk, bool egress, Bytes payload);
  Bytes chain(std::uint8_t& first, Bytes payload);
  Step bare(const Talk& talk, bool egress);
  static Bytes between(const Talk& talk, bool egress, const Bytes& packet);
  Bytes frame(bool egress, const std::string& guest, std::uint16_t type, const Bytes& payload);
  Step neighbour();
  Step arp();
  Step raw();
  Step at_uplink();
  void spoil(Bytes& frame);
  std::string address(bool six);
  std::uint16_t port();
  std::string who(const std::string& guest, bool& local_node);
  const GuestSpec& guest(const std::string& name) const;

  Random& random_;
  const World& world_;
  std::vector<std::string> pool4_, pool6_;
  std::vector<std::uint16_t> ports_;
};

}  // namespace grantd::model
