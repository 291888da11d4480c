#include "tests/kernel/sandbox.h"

#include "agent/attach/attacher.h"
#include "agent/attach/links.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace grantd::test {

namespace {

constexpr const char* kPinRoot = "/run/grantd-kernel-test";
constexpr std::uint16_t kPort = 7000;
constexpr int kWaitMilliseconds = 150;

void demand(bool condition, const std::string& what) {
  if (condition) return;
  std::fprintf(stderr, "kernel: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

sockaddr_in at(std::uint32_t address) {
  sockaddr_in socket_address{};
  socket_address.sin_family = AF_INET;
  socket_address.sin_port = htons(kPort);
  socket_address.sin_addr.s_addr = htonl(address);
  return socket_address;
}

std::string text(std::uint32_t address) {
  const in_addr value{htonl(address)};
  char buffer[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &value, buffer, sizeof(buffer));
}

Descriptor udp_socket(std::uint32_t address) {
  Descriptor socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const sockaddr_in own = at(address);
  demand(socket.valid() && bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof(own)) == 0,
         "cannot bind to " + text(address));
  return socket;
}

bool send_to(const Descriptor& from, std::uint32_t address) {
  const sockaddr_in destination = at(address);
  return sendto(from.get(), "x", 1, 0, reinterpret_cast<const sockaddr*>(&destination), sizeof(destination)) == 1;
}

int receive_all(const Descriptor& socket) {
  int count = 0;
  char byte;
  while (recv(socket.get(), &byte, 1, MSG_DONTWAIT) == 1) count++;
  return count;
}

Program with_id(Descriptor program) {
  bpf_prog_info info{};
  __u32 length = sizeof(info);
  demand(bpf_obj_get_info_by_fd(program.get(), &info, &length) == 0, "cannot read a program's id");
  return {std::move(program), info.id};
}

Program load(bpf_prog_type type, const char* name, int verdict, bpf_attach_type expected) {
  const bpf_insn instructions[] = {
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, 0},  // a guard has no such one
      {BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, verdict},
      {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
  };
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.expected_attach_type = expected;
  Descriptor program(bpf_prog_load(type, name, "GPL", instructions, std::size(instructions), &options));
  demand(program.valid(), std::string("cannot load ") + name);
  return with_id(std::move(program));
}

// As an agent's programs work on its maps; a guard works on none. Pinned, so that filters are known to be ours.
const Descriptor& map_of_programs() {
  static const Descriptor map(bpf_map_create(BPF_MAP_TYPE_ARRAY, "of_programs", 4, 4, 1, nullptr));
  demand(map.valid(), "cannot make a map");
  const std::string directory = pin_root() + "/maps";
  demand(mkdir(directory.c_str(), 0700) == 0 || errno == EEXIST, "cannot make " + directory);
  demand(bpf_obj_pin(map.get(), (directory + "/of_programs").c_str()) == 0 || errno == EEXIST, "cannot pin a map");
  return map;
}

// Where the tests were started.
Descriptor& machine() {
  static Descriptor netns;
  return netns;
}

void inside(const Descriptor& there, const std::string& name, const std::function<void()>& action) {
  const Descriptor here(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  demand(here.valid() && there.valid() && setns(there.get(), CLONE_NEWNET) == 0, "cannot enter " + name);
  action();
  demand(setns(here.get(), CLONE_NEWNET) == 0, "cannot come back from " + name);
}

}  // namespace

void enter_sandbox() {
  demand(geteuid() == 0, "must run as root");
  machine() = Descriptor(open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC));
  demand(unshare(CLONE_NEWNET | CLONE_NEWNS) == 0, "cannot make namespaces");
  demand(mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, "cannot make mounts private");
  demand(mount("none", "/run", "tmpfs", 0, nullptr) == 0, "cannot mount a tmpfs");
  demand(mkdir(kPinRoot, 0700) == 0 && mount("none", kPinRoot, "bpf", 0, nullptr) == 0, "cannot mount a bpffs");
  demand(mkdir((pin_root() + "/links").c_str(), 0700) == 0, "cannot make the directory of links");
  demand(run("ip link set lo up"), "cannot use ip");
}

const std::string& pin_root() {
  static const std::string path = kPinRoot;
  return path;
}

bool run(const std::string& command) { return std::system(command.c_str()) == 0; }

std::string output_of(const std::string& command) {
  std::string output;
  FILE* pipe = popen(command.c_str(), "r");
  demand(pipe != nullptr, "cannot run " + command);
  for (int byte; (byte = std::fgetc(pipe)) != EOF;) output += static_cast<char>(byte);
  pclose(pipe);
  return output;
}

std::uint32_t index_of(const std::string& interface) { return if_nametoindex(interface.c_str()); }

Program program_for(Hook hook, int verdict) {
  switch (hook) {
    case Hook::Connect4:
      return load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, hook_name(hook), verdict, BPF_CGROUP_INET4_CONNECT);
    case Hook::Connect6:
      return load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, hook_name(hook), verdict, BPF_CGROUP_INET6_CONNECT);
    case Hook::SkbEgress:
      return load(BPF_PROG_TYPE_CGROUP_SKB, hook_name(hook), verdict, BPF_CGROUP_INET_EGRESS);
    case Hook::SkbIngress:
      return load(BPF_PROG_TYPE_CGROUP_SKB, hook_name(hook), verdict, BPF_CGROUP_INET_INGRESS);
    default:
      Program program = load(BPF_PROG_TYPE_SCHED_CLS, hook_name(hook), verdict, static_cast<bpf_attach_type>(0));
      demand(bpf_prog_bind_map(program.fd.get(), map_of_programs().get(), nullptr) == 0, "cannot bind a map");
      return program;
  }
}

Program guard_for(Hook hook) {
  auto guard = load_guard(hook);
  demand(guard.ok(), "cannot load a guard");
  return with_id(std::move(guard).value());
}

Program foreign_program(int verdict) {
  return load(BPF_PROG_TYPE_SCHED_CLS, "foreign", verdict, static_cast<bpf_attach_type>(0));
}

Pair::Pair(std::string host, int number) : host_(std::move(host)), guest_("guest-of-" + host_) {
  const std::uint32_t network = (10U << 24) | (99U << 16) | (static_cast<std::uint32_t>(number) << 8);
  host_address_ = network + 1;
  guest_address_ = network + 2;
  const std::string inside = "ip -n " + guest_ + " ";
  demand(run("ip netns add " + guest_), "cannot make " + guest_);
  demand(run("ip link add " + host_ + " type veth peer name eth0 netns " + guest_) &&
             run("ip addr add " + text(host_address_) + "/24 dev " + host_) && run("ip link set " + host_ + " up") &&
             run(inside + "addr add " + text(guest_address_) + "/24 dev eth0") && run(inside + "link set eth0 up") &&
             run("ip neigh add " + text(guest_address_) + " dev " + host_ + " lladdr $(" + inside +
                 "-br link show eth0 | awk '{print $3}')") &&
             run(inside + "neigh add " + text(host_address_) +
                 " dev eth0 lladdr $("
                 "ip -br link show " +
                 host_ + " | awk '{print $3}')"),
         "cannot make the pair " + host_);
  host_socket_ = udp_socket(host_address_);
  in_netns(guest_, [&] { guest_socket_ = udp_socket(guest_address_); });
}

Pair::~Pair() {
  run("ip link del " + host_ + " 2>/dev/null");
  run("ip netns del " + guest_);
}

bool Pair::crosses(const Descriptor& from, const Descriptor& to, std::uint32_t address) {
  receive_all(to);
  // The sender's own side refuses some: an egress program's drop is ENOBUFS or nothing at all.
  send_to(from, address);
  pollfd readable{to.get(), POLLIN, 0};
  return poll(&readable, 1, kWaitMilliseconds) == 1 && receive_all(to) > 0;
}

Pair::Crossed Pair::from_guest_during(const std::function<void()>& action) {
  receive_all(host_socket_);
  Crossed crossed;
  std::atomic<bool> stop = false;
  std::atomic<int> sent = 0;
  std::thread sender([&] {
    while (!stop) {
      if (send_to(guest_socket_, host_address_)) sent++;
      crossed.arrived += receive_all(host_socket_);
    }
  });
  while (sent < 100) std::this_thread::yield();
  action();
  const int seen = sent;
  while (sent < seen + 100) std::this_thread::yield();
  stop = true;
  sender.join();
  crossed.sent = sent;
  pollfd readable{host_socket_.get(), POLLIN, 0};
  while (crossed.arrived < crossed.sent && poll(&readable, 1, kWaitMilliseconds) == 1)
    crossed.arrived += receive_all(host_socket_);
  return crossed;
}

void in_netns(const std::string& name, const std::function<void()>& action) {
  inside(Descriptor(open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC)), name, action);
}

void in_machines_netns(const std::function<void()>& action) { inside(machine(), "the machine's", action); }

}  // namespace grantd::test
