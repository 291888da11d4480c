// Network and mount namespaces of the test's own, a veth pair into a second network namespace, packets
// through it, and the smallest programs there are.
#pragma once

#include "agent/plan/attachment.h"
#include "maps/descriptor.h"

#include <cstdint>
#include <functional>
#include <string>

namespace grantd::test {

// Before anything else, as root: namespaces of our own, empty, with a bpffs at pin_root(). Whatever a test
// leaves behind goes with them.
void enter_sandbox();
const std::string& pin_root();

// Runs a command of the shell; false where it failed. Of output_of: what it printed.
bool run(const std::string& command);
std::string output_of(const std::string& command);
std::uint32_t index_of(const std::string& interface);

struct Program {
  Descriptor fd;
  std::uint32_t id = 0;
};
constexpr int kNext = -1, kAccept = 0, kDrop = 2;
// A program that does nothing but return the verdict, under the name of the hook's program.
Program program_for(Hook hook, int verdict);
Program guard_for(Hook hook);
// The same, of somebody else.
Program foreign_program(int verdict);

// A pair: HOST in our network namespace, "eth0" in another one of the name GUEST. Addresses and neighbours
// are fixed, so that nothing but what a test sends crosses it.
class Pair {
 public:
  explicit Pair(std::string host, int number = 1);
  ~Pair();
  Pair(const Pair&) = delete;
  Pair& operator=(const Pair&) = delete;

  std::uint32_t ifindex() const { return index_of(host_); }
  const std::string& host() const { return host_; }
  const std::string& guest() const { return guest_; }
  // Whether a datagram sent there arrives.
  bool passes_from_guest() { return crosses(guest_socket_, host_socket_, host_address_); }
  bool passes_to_guest() { return crosses(host_socket_, guest_socket_, guest_address_); }
  // How many of the datagrams that are sent all the while `action` runs arrive.
  struct Crossed {
    int sent = 0, arrived = 0;
  };
  Crossed from_guest_during(const std::function<void()>& action);

 private:
  bool crosses(const Descriptor& from, const Descriptor& to, std::uint32_t address);

  std::string host_, guest_;
  std::uint32_t host_address_, guest_address_;
  Descriptor host_socket_, guest_socket_;
};

// Runs `action` in a network namespace made by `ip netns`, and comes back.
void in_netns(const std::string& name, const std::function<void()>& action);
// In that where the tests were started: to look, and to change nothing.
void in_machines_netns(const std::function<void()>& action);

}  // namespace grantd::test
