#include "tests/bench/measure.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <algorithm>
#include <array>
#include <cerrno>

namespace grantd::bench {

namespace {

constexpr std::uint16_t listen_port = 8080;

sockaddr_in socket_address(std::uint32_t address, std::uint16_t port) {
  sockaddr_in result{};
  result.sin_family = AF_INET;
  result.sin_addr.s_addr = address;
  result.sin_port = htons(port);
  return result;
}

// A socket in the caller's network namespace, bound, that waits a second at most.
Result<Fd> bound_socket(int type, std::uint32_t address, std::uint16_t port) {
  Fd fd(socket(AF_INET, type | SOCK_CLOEXEC, 0));
  if (fd.get() < 0) return system_error("socket", errno);
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const timeval second{1, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
  const int bytes = 8 << 20;
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
  const sockaddr_in local = socket_address(address, port);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&local), sizeof local) != 0) return system_error("bind", errno);
  return fd;
}

Result<void> connect_to(const Fd& fd, std::uint32_t address, std::uint16_t port) {
  const sockaddr_in remote = socket_address(address, port);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&remote), sizeof remote) != 0)
    return system_error("connect", errno);
  return {};
}

// Two connected UDP sockets, one at each end.
struct Pair {
  Fd guest, peer;
};

Result<Pair> udp_pair(const World& world) {
  const WorldFacts& facts = world.facts();
  constexpr std::uint16_t guest_port = 7001;
  const std::uint32_t server = address_plus(facts.destination, 1);
  if (auto entered = enter_netns(world.guest_netns()); !entered) return entered.error();
  auto guest = bound_socket(SOCK_DGRAM, facts.guest_address, guest_port);
  if (!guest) return guest.error();
  if (auto done = connect_to(guest.value(), server, facts.destination_port); !done) return done.error();
  if (auto entered = enter_netns(world.peer_netns()); !entered) return entered.error();
  auto peer = bound_socket(SOCK_DGRAM, server, facts.destination_port);
  if (!peer) return peer.error();
  if (auto done = connect_to(peer.value(), facts.guest_address, guest_port); !done) return done.error();
  return Pair{std::move(guest).value(), std::move(peer).value()};
}

Result<void> pass_one(const Fd& sender, const Fd& receiver) {
  char byte = 'x';
  if (send(sender.get(), &byte, 1, 0) != 1) return system_error("send", errno);
  if (recv(receiver.get(), &byte, 1, 0) != 1) return system_error("recv", errno);
  return {};
}

Result<void> measure_round_trips(const Pair& pair, std::uint32_t count, Sample& sample) {
  std::vector<std::uint64_t> times;
  times.reserve(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint64_t begin = now_ns();
    if (auto out = pass_one(pair.guest, pair.peer); !out) return out;
    if (auto back = pass_one(pair.peer, pair.guest); !back) return back;
    times.push_back(now_ns() - begin);
  }
  std::sort(times.begin(), times.end());
  sample["round_trip_p50"] = static_cast<double>(times[times.size() / 2]);
  sample["round_trip_p99"] = static_cast<double>(times[times.size() * 99 / 100]);
  return {};
}

Result<void> measure_datagrams(const Pair& pair, std::uint32_t count, Sample& sample) {
  constexpr unsigned batch = 64;
  std::array<char, 64> out{}, in{};
  iovec out_part{out.data(), out.size()}, in_part{in.data(), in.size()};
  std::array<mmsghdr, batch> outgoing{}, incoming{};
  for (unsigned i = 0; i < batch; ++i) {
    outgoing[i].msg_hdr.msg_iov = &out_part;
    outgoing[i].msg_hdr.msg_iovlen = 1;
    incoming[i].msg_hdr.msg_iov = &in_part;
    incoming[i].msg_hdr.msg_iovlen = 1;
  }
  std::uint64_t received = 0;
  const std::uint64_t begin = now_ns();
  for (std::uint32_t sent = 0; sent < count; sent += batch) {
    if (sendmmsg(pair.guest.get(), outgoing.data(), batch, 0) != static_cast<int>(batch))
      return system_error("sendmmsg", errno);
    const int got = recvmmsg(pair.peer.get(), incoming.data(), batch, MSG_DONTWAIT, nullptr);
    if (got > 0) received += static_cast<std::uint64_t>(got);
  }
  const std::uint64_t elapsed = now_ns() - begin;
  if (received < count * 99ULL / 100) return Error{"only " + std::to_string(received) + " datagrams arrived", 0};
  sample["datagrams_per_second"] = static_cast<double>(received) * 1e9 / static_cast<double>(elapsed);
  return {};
}

// Connections from the guest, accepted and reset, one after the other.
Result<void> measure_connects(const World& world, std::uint32_t count, Sample& sample) {
  const WorldFacts& facts = world.facts();
  if (auto entered = enter_netns(world.peer_netns()); !entered) return entered;
  auto listener = bound_socket(SOCK_STREAM, facts.peer_address, listen_port);
  if (!listener) return listener.error();
  if (listen(listener.value().get(), 128) != 0) return system_error("listen", errno);
  if (auto entered = enter_netns(world.guest_netns()); !entered) return entered;
  const linger reset{1, 0};
  const std::uint64_t begin = now_ns();
  for (std::uint32_t i = 0; i < count; ++i) {
    const Fd client(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (auto done = connect_to(client, facts.peer_address, listen_port); !done) return done;
    const Fd server(accept4(listener.value().get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (server.get() < 0) return system_error("accept", errno);
    setsockopt(client.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  }
  sample["connects_per_second"] = count * 1e9 / static_cast<double>(now_ns() - begin);
  return {};
}

}  // namespace

Result<Sample> measure_sockets(const World& world, const Counts& counts) {
  const auto named = [&](const Error& error) {
    return Error{world.facts().name + ": " + error.message, error.error_number};
  };
  auto pair = udp_pair(world);
  if (!pair) return named(pair.error());
  Sample sample, warm;
  if (auto done = measure_round_trips(pair.value(), 20, warm); !done) return named(done.error());
  if (auto done = measure_round_trips(pair.value(), counts.round_trips, sample); !done) return named(done.error());
  if (auto done = measure_datagrams(pair.value(), counts.datagrams, sample); !done) return named(done.error());
  if (auto done = measure_connects(world, counts.connects, sample); !done) return named(done.error());
  return sample;
}

}  // namespace grantd::bench
